"""What an administrator may rely on: changes of the configuration, of the nodes and of the cluster keys.

A1 one line     a version of the configuration is one text, whoever runs it; a process never goes back
A2 in force     a change answered as done is in force everywhere once all is healed, or a later one is
A3 or not       a change answered as refused, or that a member has to refuse, is in force nowhere, ever; two under one
                version are never both done
A4 alike        in the end all listed nodes run the same configuration and use the same cluster key
X2 out          no configuration after a removal was put in force has the removed node among its members, and the
                key in use in the end is none that a removed node holds; one that called was told
Q1 counted      a quorate ring has more than half of the votes of the configuration that its members run, and
                shares a member with the quorate ring before it
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from tests.sim.history import Configured, History, Process, Told, Violation
from tests.sim.texts import votes_in
from transport.ids import NO_RING, NodeId, RingId
from transport.keyring import ClusterKey

DONE = "done"
REFUSED = "refused"
UNKNOWN = "unknown"


@dataclass(slots=True)
class Change:
    """Something the administrator asked for at a node. body: the new text, if it was one. process: which life of the
    node was asked. generation: of the key in use there when it was answered. then: what follows when it is done.
    cannot: a node that must say no to it, 0 for none."""

    at: float
    node: NodeId
    process: int
    what: str
    body: bytes = b""
    outcome: str = ""
    why: str = ""
    ended: float = 0.0
    generation: int = 0
    then: Callable[[], None] | None = None
    cannot: NodeId = 0


class InForce(NamedTuple):
    """A process runs this text from here on. ring: the one it was in. started: it began with it. members: of the
    configuration that its subscribers were told last before this, none before the first."""

    at: float
    node: NodeId
    process: int
    version: int
    text: bytes
    ring: RingId
    started: bool
    members: tuple[NodeId, ...] = ()


class Keys(NamedTuple):
    """The cluster keys of a process from here on."""

    at: float
    node: NodeId
    process: int
    current: ClusterKey
    live: tuple[ClusterKey, ...]


class Notice(NamedTuple):
    """A node learned that it was removed; by itself: by the change, not by a member's word."""

    at: float
    node: NodeId
    itself: bool


@dataclass(slots=True)
class Log:
    """Everything the administrator and the nodes did to the cluster. first: the text of the start.

    final: what each listed node runs once all is healed: version and text.  called: removed nodes that ran long enough
    at the end to be told.  settled: no rotation waits for an old key to retire any more.
    """

    first: bytes
    changes: list[Change] = field(default_factory=list)
    in_force: list[InForce] = field(default_factory=list)
    keys: list[Keys] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    final: dict[NodeId, tuple[int, bytes]] = field(default_factory=dict)
    called: tuple[NodeId, ...] = ()
    settled: bool = True

    def total(self, outcome: str, *whats: str) -> int:
        return sum(1 for change in self.changes if change.outcome == outcome and (not whats or change.what in whats))


def check(log: Log, history: History, one_line: bool, by_votes: bool) -> dict[str, int]:
    """Raises Violation for the first promise found broken; returns how often each was judged.

    one_line: neither options nor an operator let two components act at one time.  by_votes: who is quorate has more
    than half of the votes of the configuration in force.
    """
    check_never_back(log)
    check_refused(log)
    refused = log.total(REFUSED) + check_nobody_says_no(log)
    if not one_line:
        return {"A3": refused}
    check_one_text(log)
    check_done_once(log)
    check_done(log)
    check_alike(log)
    out = check_removed_stay_out(log, history) + check_removed_are_not_heard(log, history)
    check_removed_have_no_key(log)
    check_removed_are_told(log)
    counted = check_votes(log, history) if by_votes else 0
    done, listed = log.total(DONE), len(log.final)
    return {"A1": len(log.in_force), "A2": done, "A3": refused, "A4": listed, "X2": out, "Q1": counted}


def check_never_back(log: Log) -> None:
    """A1, within a process."""
    newest: dict[tuple[NodeId, int], InForce] = {}
    for one in log.in_force:
        before = newest.get((one.node, one.process))
        if before is not None and before.version >= one.version:
            text = f"node {one.node} went from configuration version {before.version} to {one.version}"
            raise Violation(one.at, "A1", text)
        newest[one.node, one.process] = one


def check_one_text(log: Log) -> None:
    """A1, between nodes. A text that every node which ran it lost with its power, before it was on a disk and before
    anybody was told that it is done, was never there: its version is free."""
    texts: dict[int, InForce] = {}
    for index, one in enumerate(log.in_force):
        other = texts.setdefault(one.version, one)
        if other.text == one.text:
            continue
        if _lost(log, other, log.in_force[:index]):
            texts[one.version] = one
        else:
            text = f"nodes {other.node} and {one.node} ran different texts of version {one.version}"
            raise Violation(one.at, "A1", f"{text}: {_title(other.text)} and {_title(one.text)}")


def _lost(log: Log, text: InForce, before: list[InForce]) -> bool:
    if any(change.body == text.text and change.outcome == DONE for change in log.changes):
        return False
    has: dict[NodeId, bool] = {}
    for one in before:
        if one.text == text.text:
            has[one.node] = True
        elif one.started and one.version < text.version:
            has[one.node] = False
    return not any(has.values())


def check_done_once(log: Log) -> None:
    """A3: two under one version are never both done."""
    done: dict[int, Change] = {}
    for change in log.changes:
        if change.body and change.outcome == DONE:
            version = next(one.version for one in log.in_force if one.text == change.body)
            if version in done:
                text = f"version {version} was answered as done at nodes {done[version].node} and {change.node}"
                raise Violation(change.ended, "A3", text)
            done[version] = change


def check_refused(log: Log) -> None:
    """A3. No two texts of a run are equal."""
    run = {one.text: one for one in reversed(log.in_force)}
    for change in log.changes:
        if change.body and change.outcome == REFUSED and change.body in run:
            one = run[change.body]
            text = f"{change.what} at node {change.node} was refused ({change.why}), and came into force at node"
            raise Violation(one.at, "A3", f"{text} {one.node}: {_title(change.body)}")


def check_nobody_says_no(log: Log) -> int:
    """A3: what a member cannot take comes into force nowhere in its ring, whatever the others think of it. Returns how
    often such a change was asked for.

    Which ring that is, the order of what the node said tells, not the time: who is alone in a ring agrees with itself
    in the moment of installing it, and what the last ring still brings comes in the moment of the next.
    """
    asked = [change for change in log.changes if change.cannot]
    for change in asked:
        first = next((one for one in log.in_force if one.text == change.body), None)
        if first is None:
            continue
        if change.cannot in first.members:
            text = f"{change.what} is in force at node {first.node} in a ring of {list(first.members)}, of which node"
            raise Violation(first.at, "A3", f"{text} {change.cannot} cannot take it: {_title(change.body)}")
    return len(asked)


def check_done(log: Log) -> None:
    """A2."""
    final = max((version for version, _ in log.final.values()), default=0)
    end = log.keys[-1] if log.keys else None
    for change in log.changes:
        if change.outcome != DONE:
            continue
        named = f"{change.what} at node {change.node} was done"
        if change.body:
            ran = [one for one in log.in_force if one.text == change.body]
            if not any((one.node, one.process) == (change.node, change.process) for one in ran):
                raise Violation(change.ended, "A2", f"{named}, but never in force there: {_title(change.body)}")
            if final < ran[0].version:
                raise Violation(change.ended, "A2", f"{named} in version {ran[0].version}, in the end {final} is run")
        elif change.what == "rotate" and end is not None and end.current.generation < change.generation:
            text = f"{named} with generation {change.generation}, in the end {end.current.generation} is used"
            raise Violation(change.ended, "A2", text)


def check_alike(log: Log) -> None:
    """A4."""
    at = max((one.at for one in log.keys), default=0.0)
    keys = {one.node: one.current for one in log.keys}
    nodes = sorted(log.final)
    for one, other in pairwise(nodes):
        if log.final[one] != log.final[other]:
            text = f"node {one} runs version {log.final[one][0]}, node {other} version {log.final[other][0]}"
            raise Violation(at, "A4", f"{text}: {_title(log.final[one][1])}, {_title(log.final[other][1])}")
        if keys[one] != keys[other]:
            text = f"node {one} uses cluster key generation {keys[one].generation} {keys[one].fingerprint}"
            text += f", node {other} {keys[other].generation} {keys[other].fingerprint}"
            raise Violation(at, "A4", text)


def _runs(log: Log) -> dict[tuple[NodeId, int], list[InForce]]:
    runs: dict[tuple[NodeId, int], list[InForce]] = defaultdict(list)
    for one in log.in_force:
        runs[one.node, one.process].append(one)
    return runs


def check_removed_stay_out(log: Log, history: History) -> int:
    """X2: of the rings installed after the text came into force; the one it came into force in still ends. Returns how
    many rings were installed by a node that ran a text without a node of before."""
    runs, judged = _runs(log), 0
    ever = {node for one in log.in_force for node in votes_in(one.text)}
    for process in history.processes:
        mine = runs.get((process.node, process.number), [])
        for event in process.events:
            if not isinstance(event, Configured) or not event.change.regular:
                continue
            run = _at(mine, event.at)
            if run is None or event.change.ring_id == run.ring:
                continue
            judged += not ever <= votes_in(run.text).keys()
            strange = [node for node in event.change.members if node not in votes_in(run.text)]
            if strange:
                text = f"node {process.node} runs version {run.version} and is in ring {event.change.ring_id}"
                raise Violation(event.at, "X2", f"{text} with node {strange[0]}, which it does not list")
    return judged


def check_removed_are_not_heard(log: Log, history: History) -> int:
    """X2: a message that a node sent after its removal was in force at a member is not delivered there. The ring in
    which it came into force still ends as any ring, with what all who go on from it have of it, so that the others, who
    are a moment behind, deliver the same. Returns how many messages of nodes that were not listed were judged."""
    runs, judged = _runs(log), 0
    sent = {mark: at for p in history.processes for (_, mark, _), at in zip(p.ring.sent, p.sent_at, strict=True)}
    for process in history.processes:
        mine = runs.get((process.node, process.number), [])
        for stranger in process.strangers:
            removed = None
            for run in mine:
                if run.at <= stranger.at:
                    listed = stranger.sender in votes_in(run.text)
                    removed = None if listed else removed or run
            judged += 1
            if removed is not None and stranger.ring != removed.ring and sent.get(stranger.mark, 0.0) > removed.at:
                text = f"node {process.node} runs version {removed.version}, without node {stranger.sender}, since "
                text += f"{removed.at:.3f} s, and was given what that node sent at {sent[stranger.mark]:.3f} s"
                raise Violation(stranger.at, "X2", text)
    return judged


def check_calm(now: float, changes: list[Change], before: dict[NodeId, RingId], after: dict[NodeId, RingId]) -> None:
    """A2 and L4: what was asked for once everything had healed was done, and disturbed no ring.

    changes: these.  before, after: the ring of each listed node when the first was asked for, and now.
    """
    for change in changes:
        if change.outcome != DONE:
            text = f"{change.what} at node {change.node} after everything healed: {change.outcome} {change.why}"
            raise Violation(now, "A2", text.rstrip())
    if changes and before != after:
        raise Violation(now, "L4", "the ring was formed again while a change or a rotation was made in a calm")


def _at(runs: list[InForce], when: float) -> InForce | None:
    found = None
    for one in runs:
        if one.at <= when:
            found = one
    return found


def removed_in_the_end(log: Log) -> set[NodeId]:
    """Who was listed at some time and is not now."""
    ever = {node for one in log.in_force for node in votes_in(one.text)}
    return ever - set(log.final) if log.final else set()


def check_removed_have_no_key(log: Log) -> None:
    """X2: by keys, not by courtesy."""
    if not log.settled or not log.final:
        return
    removed, keys = removed_in_the_end(log), {one.node: one for one in log.keys}
    used = keys[min(log.final)].current
    for one in log.keys:
        if one.node in removed and used in one.live:
            text = f"node {one.node} was removed and holds cluster key generation {used.generation}, used in the end"
            raise Violation(max(key.at for key in log.keys), "X2", text)


def check_removed_are_told(log: Log) -> None:
    """X2 and DESIGN 6: a removed identity that calls gets a notice."""
    told = {notice.node for notice in log.notices}
    for node in log.called:
        if node not in told:
            raise Violation(max(key.at for key in log.keys), "X2", f"node {node} was removed and never told")


def check_votes(log: Log, history: History) -> int:
    """Q1 with votes that change: by the configuration in force where the verdict was told. A node that never joined
    yet need not be counted (Q2)."""
    runs = _runs(log)
    quorate: dict[RingId, tuple[float, tuple[NodeId, ...]]] = {}
    for process in history.processes:
        for event in process.events:
            if isinstance(event, Told) and event.verdict.quorate and event.verdict.ring_id != NO_RING:
                _check_verdict(process, event, runs.get((process.node, process.number), []))
                quorate.setdefault(event.verdict.ring_id, (event.at, event.verdict.members))
    for (before, (_, were)), (ring, (at, members)) in pairwise(sorted(quorate.items())):
        if not set(were) & set(members):
            raise Violation(at, "Q1", f"ring {ring} of {members} is quorate after ring {before} of {were}")
    return len(quorate)


def _check_verdict(process: Process, event: Told, runs: list[InForce]) -> None:
    verdict = event.verdict
    around = [one for one in runs if one.at <= event.at]
    around = around[-2:] if around and around[-1].at == event.at else around[-1:]  # in the turn of a change: either
    for one in around:
        votes = votes_in(one.text)
        absent = {node: count for node, count in votes.items() if node not in verdict.members}
        newcomer = 1 if 1 in absent.values() else 0
        present = sum(votes.get(node, 0) for node in verdict.members)
        if 2 * present > sum(votes.values()) - newcomer:
            return
    if around:
        text = f"node {process.node} is quorate in ring {verdict.ring_id} of {verdict.members}"
        raise Violation(event.at, "Q1", f"{text}, with votes {votes_in(around[-1].text)}")


def _title(text: bytes) -> str:
    return text.split(b"\n", 1)[0].decode().lstrip("# ")
