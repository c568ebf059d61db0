"""Whose log leads after a configuration change, and what kind of primary may open there.

Source: DESIGN 7, "Epoch" and "Opening a primary"; the safety argument is in docs/protocol-store.md. `choose` is a pure
function of the reports of all members, which all members get at the same place of the total order: so all choose alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from cfs.log import NO_MARK, Mark
from cfs.records import START, DataSet, EpochKind, LogPosition
from cfs.wire import Health, Report
from transport.ids import NO_RING, NodeId, RingId


@dataclass(frozen=True, slots=True)
class Choice:
    """What the members of one configuration go on from.

    leader: None: no primary can open here, `reason` says why in one sentence; alarm: an operator must look.
    genesis: no store exists anywhere, the empty tree is made.  base: where the leader's log ends.
    data_set, pending: in force in the leader's log, and a change not known committed.  good: members whose stores
    count.  lost: data members present whose stores do not count until resynced.  committed: known to any report.
    behind: members whose stores lack what others know they had; they must remember it, whatever opens here.
    """

    leader: NodeId | None = None
    reason: str = ""
    alarm: bool = False
    genesis: bool = False
    kind: EpochKind = EpochKind.MAJORITY
    era: int = 0
    base: LogPosition = START
    parent: RingId = NO_RING
    data_set: DataSet = field(default_factory=DataSet)
    pending: tuple[int, DataSet] | None = None
    good: frozenset[NodeId] = frozenset()
    lost: frozenset[NodeId] = frozenset()
    committed: int = 0
    behind: frozenset[NodeId] = frozenset()

    @property
    def sets(self) -> tuple[DataSet, ...]:
        """The data sets of which a majority is needed."""
        return (self.data_set, self.pending[1]) if self.pending else (self.data_set,)


def votes_of(nodes: Iterable[NodeId], data_set: DataSet) -> int:
    """The data votes these nodes have together."""
    return sum(data_set.votes.get(node, 0) for node in nodes)


def total(data_set: DataSet) -> int:
    """D of DESIGN 7."""
    return sum(data_set.votes.values())


def names(nodes: Iterable[NodeId]) -> str:
    """For a sentence: `1, 2, 5`, or `none`."""
    return ", ".join(str(node) for node in sorted(nodes)) or "none"


def choose(ring: RingId, members: tuple[NodeId, ...], reports: dict[NodeId, Report]) -> Choice:
    """reports: of all members of the configuration `ring`."""
    if all(report.health is Health.FRESH or report.end == START for report in reports.values()):
        made = _genesis(members, reports)
        if made.leader is not None or not _some_good(reports):
            return made
    good = {node: report for node, report in reports.items() if report.health is Health.GOOD}
    if not good:
        return Choice(reason=f"no store of nodes {names(members)} can be relied on")
    clusters = {report.cluster for report in good.values() if report.end != START}
    if not clusters:
        clusters = {max(report.cluster for report in good.values())}
    for node in [node for node, report in good.items() if report.end == START and report.cluster not in clusters]:
        del good[node]  # the first start was begun twice: this store is of the one that came to nothing
    if len(clusters) > 1:
        return Choice(reason=f"stores of different clusters meet here: {_sides(good)}", alarm=True)
    behind = _drop_rolled_back(good)
    _drop_other_trees(good)
    if not good:
        return Choice(reason=f"no store of nodes {names(members)} can be relied on", behind=behind)
    leader = _leader(good)
    return replace(_judge(ring, members, reports, good, leader), behind=behind)


def _sides(good: dict[NodeId, Report]) -> str:
    """Who is of which cluster, as far as good stores tell."""
    sides: dict[RingId, list[NodeId]] = {}
    for node, report in sorted(good.items()):
        sides.setdefault(report.cluster, []).append(node)
    return " against ".join(f"nodes {names(side)}" for side in sides.values())


def _some_good(reports: dict[NodeId, Report]) -> bool:
    return any(report.health is Health.GOOD for report in reports.values())


def _genesis(members: tuple[NodeId, ...], reports: dict[NodeId, Report]) -> Choice:
    """No member has a record, so nothing was ever written, if these are all the nodes there are."""
    lost = [node for node, report in reports.items() if report.health is Health.LOST]
    if lost:
        return Choice(reason=f"no store present has data, and those of nodes {names(lost)} were lost or damaged")
    lists = [report.nodes for report in reports.values()]
    nodes = lists[0]
    missing = set(nodes) - set(members)
    if any(other != nodes for other in lists) or not nodes:
        return Choice(reason="no store yet, and the members' node lists differ")
    if missing:
        return Choice(reason=f"no store yet: the first start needs every configured node, missing: {names(missing)}")
    if not any(nodes.values()):
        return Choice(reason="no configured node has a vote")
    return Choice(
        leader=min(nodes), genesis=True, data_set=DataSet(1, dict(nodes)), good=frozenset(members), committed=0
    )


def _drop_rolled_back(good: dict[NodeId, Report]) -> frozenset[NodeId]:
    """Take out stores that lack what others know they once had on disk; returns whose."""
    dropped: set[NodeId] = set()
    while True:
        behind = [
            node
            for node, report in good.items()
            if any(other.known.get(node, NO_MARK) > report.standing.majority for other in good.values())
        ]
        if not behind:
            return frozenset(dropped)
        dropped.update(behind)
        for node in behind:
            del good[node]


def _drop_other_trees(good: dict[NodeId, Report]) -> None:
    """S4: of stores with the same log, applied equally far, take out those whose tree is not the most frequent one."""
    places: dict[tuple[LogPosition, int], list[NodeId]] = {}
    for node, report in sorted(good.items()):
        places.setdefault((report.end, report.applied), []).append(node)
    for nodes in places.values():
        digests = [good[node].digest for node in nodes]
        usual = max(digests, key=lambda digest: (digests.count(digest), -digests.index(digest)))
        for node, digest in zip(nodes, digests, strict=True):
            if digest != usual:
                del good[node]


def _leader(good: dict[NodeId, Report]) -> NodeId:
    """The greatest standing, after a majority mark that provably nobody can have committed was lowered.

    Without that, an epoch that one node opened just before the ring broke would beat a narrow one with acknowledged
    writes. A mark is possible when the data members that are away, lost, or report at least that much are a majority.
    """
    top = max(good, key=lambda node: (good[node].standing, -node))
    data_set = good[top].data_set
    marks = sorted({report.standing.majority for report in good.values()})

    def possible(mark: Mark) -> bool:
        holders = (n for n in data_set.votes if n not in good or good[n].standing.majority >= mark)
        return 2 * votes_of(holders, data_set) > total(data_set)

    plausible = [mark for mark in marks if possible(mark)]

    def key(node: NodeId) -> tuple[int, Mark, Mark, bool, int]:
        standing = good[node].standing
        majority = max((mark for mark in plausible if mark <= standing.majority), default=NO_MARK)
        return (standing.era, majority, standing.last, good[node].disk_ok, -node)

    return max(good, key=key)


def _epoch_at(report: Report, index: int) -> tuple[RingId, EpochKind] | None:
    """The epoch of the record at `index` of that member's log; None: older than what was told, or beyond its end."""
    if index > report.end.index:
        return None
    for stretch in reversed(report.tail):
        if stretch.first_index <= index:
            return stretch.ring_id, stretch.kind
    return None


def _committed(good: dict[NodeId, Report], leader: NodeId) -> tuple[int, NodeId | None]:
    """The highest index of the leader's log that some member knows committed; and a member that contradicts it.

    A member contradicts the leader when it knows a record of a majority epoch committed that the leader's log lacks.
    """
    lead = good[leader]
    best = 0
    for node, report in sorted(good.items()):
        epoch, index = report.committed
        there = _epoch_at(lead, index)
        oldest = lead.tail[0].first_index if lead.tail else 1
        if index == 0 or index < oldest or (there is not None and there[0] == epoch):
            best = max(best, index)
            continue
        mine = _epoch_at(report, index)
        if mine is not None and mine[1] is EpochKind.MAJORITY and report.standing.era == lead.standing.era:
            return best, node
    return best, None


def _judge(
    ring: RingId,
    members: tuple[NodeId, ...],
    reports: dict[NodeId, Report],
    good: dict[NodeId, Report],
    leader: NodeId,
) -> Choice:
    lead = good[leader]
    committed, contradicts = _committed(good, leader)
    if contradicts is not None:
        text = f"nodes {leader} and {contradicts} hold different writes, both committed by a data majority"
        return Choice(reason=text + ": an operator must choose (docs/operations.md)", alarm=True)
    newest = max(report.end.epoch for report in good.values())
    if newest >= ring:
        return Choice(
            reason=f"ring {ring} is older than epoch {newest} of the store: ring numbers went back", alarm=True
        )
    data_set, pending = lead.data_set, lead.pending
    if pending is not None and pending[0] <= committed:
        data_set, pending = pending[1], None
    sets = (data_set, pending[1]) if pending else (data_set,)
    majority = all(2 * votes_of(members, one) > total(one) for one in sets)
    lost = frozenset(node for node in members if node in data_set.votes and node not in good)
    if majority:
        for one in sets:
            if 2 * votes_of(good, one) < total(one):
                away = set(one.votes) - set(members)
                text = f"too few good stores: {names(good)} of {names(one.votes)}"
                text += f"; lost: {names(lost)}" if lost else ""
                text += f"; away: {names(away)}" if away else ""
                return Choice(reason=text, good=frozenset(good), lost=lost)
    elif not votes_of(good, data_set):
        return Choice(reason=f"no good store of {names(data_set.votes)} is present", lost=lost)
    return Choice(
        leader=leader,
        kind=EpochKind.MAJORITY if majority else EpochKind.NARROW,
        era=lead.standing.era,
        base=lead.end,
        parent=lead.end.epoch,
        data_set=data_set,
        pending=pending,
        good=frozenset(good),
        lost=lost,
        committed=committed,
    )
