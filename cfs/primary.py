"""One configuration's way to a primary, and what is committed in it: the part of the replica all members share.

Everything here but the claims changes only by messages of the total order, so it is equal on all members at the same
place of it. Source: DESIGN 7, "Required set", "Claims", "Opening a primary".
    ready     members that have said READY and not LOST since
    opened    the READY that completed the required set was delivered; never closed again in this configuration
"""

from __future__ import annotations

from cfs.epochs import Choice, choose, total, votes_of
from cfs.records import DataSet, EpochKind, EpochRecord
from cfs.wire import Need, Ready, Report
from transport.ids import NodeId, RingId

Sets = tuple[DataSet, tuple[int, DataSet] | None]  # in force, and the change under way


def enough(nodes: set[NodeId], data_set: DataSet, members: tuple[NodeId, ...]) -> bool:
    """Are these a data majority; and of a two-member data set with both members present, both?"""
    voters = {node for node, votes in data_set.votes.items() if votes}
    if len(voters) == 2 and voters <= set(members):
        return voters <= nodes
    return 2 * votes_of(nodes, data_set) > total(data_set)


def majority_index(claims: dict[NodeId, int], data_set: DataSet, members: tuple[NodeId, ...]) -> int:
    """The highest index that is on disk on a required set of `data_set`."""
    voters = [node for node, votes in data_set.votes.items() if votes]
    if len(voters) == 2 and all(node in members for node in voters):
        return min(claims.get(node, 0) for node in voters)
    whole, held = total(data_set), 0
    for claim, node in sorted(((claim, node) for node, claim in claims.items()), reverse=True):
        held += data_set.votes.get(node, 0)
        if 2 * held > whole:  # `enough`, counted up: asked after every message
            return claim
    return 0


class Primary:
    """The configuration `ring` with these members.

    attempt: number of the choice, +1 each time one is made.  claims: member -> highest log index it says is on disk.
    needs: who asked for a transfer and has not got it, in order of asking.
    transfer, source, target: number, sender and receiver of the last START; no sender and receiver before the first of
    a choice.
    latest_set: the newest data set in the log.
    """

    def __init__(self, ring: RingId, members: tuple[NodeId, ...]) -> None:
        self.ring = ring
        self.members = members
        self.reports: dict[NodeId, Report] = {}
        self.choice: Choice | None = None
        self.attempt = 0
        self.ready: set[NodeId] = set()
        self.opened = False
        self.first_index = 0
        self.holders: tuple[NodeId, ...] = ()
        self.latest_set = DataSet()
        self.claims: dict[NodeId, int] = {}
        self.needs: dict[NodeId, Need] = {}
        self.transfer = 0
        self.source: NodeId | None = None
        self.target: NodeId | None = None
        self._failed: set[NodeId] = set()

    def report(self, sender: NodeId, report: Report) -> bool:
        """A member's report; True when all are there and a choice was made (anew, unless a primary is open)."""
        if sender not in self.members or self.opened:
            return False
        self.reports[sender] = report
        if len(self.reports) < len(self.members):
            return False
        self.choice = choose(self.ring, self.members, self.reports)
        self.attempt += 1
        self.ready.clear()
        self.needs.clear()
        self.source = self.target = None  # chunks of a transfer for the choice before may still come
        self._failed = {node for node, one in self.reports.items() if not one.disk_ok}
        narrow = self.choice.kind is EpochKind.NARROW
        pending = self.choice.pending
        self.latest_set = pending[1] if pending and not narrow else self.choice.data_set
        return True

    def say_ready(self, sender: NodeId, message: Ready) -> bool:
        """True when this message opens the primary."""
        choice = self.choice
        if choice is None or choice.leader is None or sender not in self.members or message.attempt != self.attempt:
            return False
        if self.opened:
            self.ready.add(sender)
            self._failed.discard(sender)
            return False
        if (message.index, message.chain) != (choice.base.index, choice.base.chain):
            return False
        self.ready.add(sender)
        self._failed.discard(sender)
        if not self._may_open(choice):
            return False
        self.opened = True
        self.first_index = choice.base.index + 1
        self.holders = tuple(sorted(self.ready))
        return True

    def say_lost(self, sender: NodeId) -> None:
        self.ready.discard(sender)
        if sender in self.members:
            self._failed.add(sender)

    def _may_open(self, choice: Choice) -> bool:
        if choice.kind is EpochKind.NARROW:
            required = {node for node in choice.good if node in choice.data_set.votes} - self._failed
            return bool(votes_of(required, choice.data_set)) and required <= self.ready
        return all(enough(self.ready, one, self.members) for one in choice.sets)

    def record(self) -> EpochRecord:
        """The epoch's first record; `opened` is True."""
        choice = self.choice
        assert choice is not None
        return EpochRecord(
            self.ring,
            choice.parent,
            self.first_index,
            choice.data_set.version,
            choice.kind,
            choice.era,
            self.holders,
        )

    @property
    def narrow(self) -> bool:
        return self.choice is not None and self.choice.kind is EpochKind.NARROW

    def server(self) -> NodeId | None:
        """Who sends transfers: the leader of the choice; when that fell behind, the lowest member that did not."""
        if self.choice is None or self.choice.leader is None:
            return None
        if not self.opened or self.choice.leader in self.ready:
            return self.choice.leader
        return min(self.ready, default=None)

    def holding(self, index: int) -> set[NodeId]:
        """Whose disks are known to hold the log up to `index`: by their claims, or as they had what opened this."""
        if not self.opened:
            return set()
        claimed = {node for node, claim in self.claims.items() if claim >= index}
        return claimed | {*self.holders, *self.ready} if index < self.first_index else claimed

    def required_present(self, sets: Sets) -> bool:
        """Could a write be committed now: are the ready members a required set?"""
        if not self.opened:
            return False
        if self.narrow:
            return bool(votes_of(self.ready, sets[0]))
        wanted = (sets[0], sets[1][1]) if sets[1] else (sets[0],)
        return all(enough(self.ready, one, self.members) for one in wanted)

    def committed(self, sets: Sets) -> int:
        """The highest index on disk on the required set, by the claims known here; 0 when none of this epoch."""
        if not self.opened:
            return 0
        force, pending = sets
        if self.narrow:
            if not votes_of(self.ready, force):
                return 0
            index = min(self.claims.get(node, 0) for node in self.ready)  # learners too: status names them as holders
        else:
            index = majority_index(self.claims, force, self.members)
            if pending is not None and index >= pending[0]:
                both = majority_index(self.claims, pending[1], self.members)
                index = both if pending[0] <= both < index else index if both >= index else pending[0] - 1
        return index if index >= self.first_index else 0
