"""A round's history, put together and handed to the simulator's checkers. What was judged is forgotten.

That is sound because a round begins and ends in peace: every call has ended, every node has the same tree, every
watcher was told all of it. A round's keys are its own, so a write of it with an unknown outcome can show nowhere else;
and that nothing older is lost later shows in the tree that the logs are applied to from the beginning (disks.py).
What goes on from one round to the next is handed on: the newest state that each node showed, the revision that each
watcher knows, the epochs of the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from clusterd.client import Client
from tests.sim.checkers import alike, durable, ended, linearizability, once, one_component, real_time, store, watches
from tests.sim.history import (
    ACKED,
    FAILED,
    Call,
    Durable,
    FinalStore,
    History,
    Process,
    StoreSample,
    Told,
    Watched,
)
from tests.torture.disks import Disks, Read
from tests.torture.verdicts import Board
from tests.transport.totem.evs import Trace
from transport.ids import NO_RING, RingId

LATE = 4.0  # seconds that a busy machine may take beyond what the daemon allows itself, and beyond those it stood still
EVERY = 10  # so many calls for one whose outcome is asked of every node; those with doubts are asked for all

# Whatever a minute of it comes to: a checker that looked at nothing says nothing. S5 needs luck.
ALWAYS = (
    "L1: whole again",
    "Q1: verdicts told of rings",
    "Q4: quorate answers compared",
    "S1: answered writes found in the log",
    "S1: outcomes asked of nodes",
    "S1: required sets told",
    "S2: local reads",
    "S2: operations put in one order",
    "S3: exactly once",
    "S3: operations ended in time",
    "S4: log records applied anew",
    "S4: states compared",
    "watch: changes told, one by one",
)
ENOUGH = 60.0  # seconds of it


@dataclass(slots=True)
class Round:
    """What was seen in one. shown: revisions of each client's local reads, in order.  rings: of each node, see
    Listener.take."""

    calls: list[Call]
    durable: list[Durable] = field(default_factory=list)
    shown: list[list[StoreSample]] = field(default_factory=list)
    told: dict[int, list[Told]] = field(default_factory=dict)
    samples: list[StoreSample] = field(default_factory=list)
    watches: list[list[Watched]] = field(default_factory=list)
    paused: list[tuple[int, float, float]] = field(default_factory=list)
    rings: dict[int, dict[RingId, tuple[float, float]]] = field(default_factory=dict)


class Judge:
    """counts: how much each checker looked at."""

    def __init__(self, nodes: list[int], board: Board) -> None:
        self._nodes = nodes
        self._board = board
        self._last: dict[int, StoreSample] = {}
        self.counts: Counter[str] = Counter()
        self.undecided = 0

    def check(self, seen: Round, read: Read, disks: Disks, stores: list[FinalStore]) -> None:
        """Raises Violation. stores: what each node says at the end, with the outcomes of `asked_of_all(calls)`."""
        votes = dict.fromkeys(self._nodes, 1)
        writes = {call.id for call in seen.calls if not call.is_read} | read.logged.keys()
        history = History(
            votes,
            seen.calls,
            samples=self._with_last(seen.samples),
            durable=[replace_epoch(ack, read) for ack in told_whole(seen)],
            watches=[*seen.watches, read.changes],
            applied=read.applied,
            epochs=disks.epochs,
            final=[disks.final(sorted(writes))],
            logged=frozenset(read.logged),
            votes_needed=len(self._nodes) // 2 + 1,
        )
        for call in seen.calls:
            ended.check_deadline(call, paused(seen.paused, call) + LATE)
        store.check(history)
        self._check_nodes(history, disks, stores)
        self._check_local_reads(history, seen.shown)
        self.counts["S3: exactly once"] += once.check(history)
        self.counts["watch: changes told, one by one"] += watches.check(history)
        self.undecided += linearizability.check(history)
        self._check_verdicts(history, seen.told)
        for node in self._nodes:
            found = [sample for sample in seen.samples if sample.node == node]
            self._last.update({node: found[-1]} if found else {})
        self._count(seen, read, history)

    def _with_last(self, samples: Iterable[StoreSample]) -> list[StoreSample]:
        """In order of time, behind the last of the round before; the moment of the question counts."""
        return [*self._last.values(), *sorted(samples, key=lambda sample: sample.at)]

    def _check_nodes(self, history: History, disks: Disks, stores: list[FinalStore]) -> None:
        """S1, S4: every node ends with the tree that the logs make, and knows the outcomes that clients were told."""
        asked = asked_of_all(history.calls)
        ours = disks.final([call.id for call in asked])
        node = History(history.votes, asked, epochs=history.epochs, final=[ours, *stores])
        alike.check_digests(node)
        durable.check_acked_is_kept(node)
        self.counts["S1: outcomes asked of nodes"] += len(asked) * len(stores)

    def _check_local_reads(self, history: History, shown: list[list[StoreSample]]) -> None:
        """S2: what a client reads of a node's own copy never gets older; several clients' reads may overlap."""
        for samples in shown:
            real_time.check_reads_never_go_back(replace(history, samples=samples))
            self.counts["S2: local reads"] += len(samples)

    def _check_verdicts(self, history: History, told: dict[int, list[Told]]) -> None:
        """Q1 as told: each quorate ring has a majority, and all in a ring are told the same members."""
        lives = [Process(node, 0, 0.0, Trace(node, 0), events=list(events)) for node, events in sorted(told.items())]
        one_component.check(replace(history, processes=lives))
        self.counts["Q1: verdicts told of rings"] += sum(len(events) for events in told.values())
        self.counts["Q4: quorate answers compared"] = self._board.check()

    def _count(self, seen: Round, read: Read, history: History) -> None:
        counts = self.counts
        counts["S1: required sets told"] += len(history.durable)
        counts["S1: answered writes found in the log"] += sum(
            1 for call in seen.calls if not call.is_read and call.outcome in (ACKED, FAILED)
        )
        counts["S2: operations put in one order"] += sum(
            1 for call in seen.calls if call.kind in linearizability.CHECKED and call.outcome in (ACKED, FAILED)
        )
        counts["S3: operations ended in time"] += len(seen.calls)
        counts["S4: states compared"] += len(history.samples)
        counts["S4: log records applied anew"] += read.records


def not_judged(counts: Counter[str], seconds: float) -> list[str]:
    """What should have been judged in so long a run and never was."""
    return [what for what in ALWAYS if not counts[what]] if seconds >= ENOUGH else []


def told_whole(seen: Round) -> list[Durable]:
    """Those acknowledgements whose `durable_on` must be a whole required set: of a first attempt, by a node that was in
    one ring from the question to the answer. A new ring begins to count anew who is known to hold what, and an outcome
    that is known already is told with those it knows of."""
    first = {call.id: call for call in seen.calls if call.attempts == 1}
    return [
        ack
        for ack in seen.durable
        if ack.id in first
        and any(since <= first[ack.id].asked and ack.at <= to for since, to in seen.rings[ack.proposer].values())
    ]


def replace_epoch(ack: Durable, read: Read) -> Durable:
    """With the epoch that the log has it in."""
    return ack._replace(epoch=read.logged.get(ack.id, NO_RING))


def paused(intervals: Iterable[tuple[int, float, float]], call: Call) -> float:
    """For how much of the call's last attempt its node was stopped by us, or everybody (node 0) by the machine."""
    end = call.ended if call.ended is not None else call.asked
    return sum(
        max(0.0, min(end, to) - max(call.asked, since)) for node, since, to in intervals if node in (0, call.node)
    )


def asked_of_all(calls: list[Call]) -> list[Call]:
    """The writes whose outcome every node is asked for."""
    writes = [call for call in calls if not call.is_read]
    return [call for number, call in enumerate(writes) if call.doubtful or number % EVERY == 0]


def store_of(node: int, client: Client, calls: list[Call]) -> FinalStore:
    """What a node says of its store, and of the outcomes of these calls. Raises ClientError."""
    status = client.status()["store"]
    outcomes = {}
    for call in calls:
        told = client.outcome(call.id.hex())
        if told["outcome"] != "unknown":
            refused = str(told["message"]).upper().replace(" ", "_")  # told in words
            outcomes[call.id] = ("OK" if told["outcome"] == "done" else refused, told["revision"] or 0)
    return FinalStore(node, status["revision"], bytes.fromhex(status["digest"]), outcomes, {})
