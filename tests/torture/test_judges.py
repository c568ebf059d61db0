"""The torture's judge finds what it is there for: each broken promise in a round that was sound before."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from cfs.io import generations
from cfs.io.logfile import LogFile
from cfs.messages import Change, Code, Kind, Operation
from cfs.records import START, EpochKind, EpochRecord, LogPosition, LogRecord, RecordKind
from tests.sim.history import ACKED, REFUSED, Call, Durable, FinalStore, StoreSample, Violation
from tests.torture.disks import Disks, Read
from tests.torture.judges import ALWAYS, ENOUGH, Judge, Round, asked_of_all, not_judged, paused, store_of
from tests.torture.verdicts import Board
from transport.ids import NO_RING, RingId

NODES = [1, 2, 3]
RING = RingId(4, 1, 7)
WRITES = [(b"a" * 16, "k", b"one"), (b"b" * 16, "k", b"two"), (b"c" * 16, "l", b"three")]
OWN = (b"o" * 16, "o", b"by the torture itself: no client's call")


def records(*writes: tuple[bytes, str, bytes]) -> list[LogRecord]:
    epoch = EpochRecord(RING, NO_RING, 1, 0, EpochKind.MAJORITY, 0, (1, 2, 3))
    made, last = [], START
    bodies = [(RecordKind.EPOCH, epoch.encode())]
    for ident, path, data in writes:
        bodies.append((RecordKind.OPERATION, Operation(ident, Kind.PUT, path, data, writer=1, since=1).encode()))
    for kind, body in bodies:
        made.append(LogRecord.after(last, RING, kind, body))
        last = made[-1].position
    return made


def disk(root: Path, *writes: tuple[bytes, str, bytes]) -> Path:
    """A store's directory with such a log."""
    log = generations.folder(root, 1) / "log"
    log.mkdir(parents=True)
    file = LogFile.create(log, LogPosition())
    file.append(records(*writes))
    file.close()
    generations.switch(root, 1)
    return root


def calls() -> list[Call]:
    """What a client was told of the writes: revisions 1, 2, 3."""
    made = []
    for number, (ident, path, data) in enumerate(WRITES, 1):
        call = Call(ident, "put", path, 1, 1, 0, float(number), data, asked=float(number), doubtful=True)
        call.ended, call.outcome, call.revision = number + 0.5, ACKED, number
        made.append(call)
    return made


class Case:
    """A sound round; each test breaks one thing of it."""

    def __init__(self, directory: Path) -> None:
        self.disks = Disks({node: disk(directory / f"n{node}", *WRITES, OWN) for node in NODES})
        self.read: Read = self.disks.follow()
        self.calls = calls()
        state = self.disks.state
        outcomes = {ident: ("OK", number) for number, (ident, _, _) in enumerate(WRITES, 1)}
        self.stores = [FinalStore(node, state.revision, state.digest(), dict(outcomes), {}) for node in NODES]
        self.durable = [
            Durable(call.ended or 0.0, call.id, 1, (1, 2), {1: 1, 2: 1, 3: 1}, NO_RING) for call in self.calls
        ]
        self.samples = [StoreSample(9.0, node, 1, state.revision, state.digest()) for node in NODES]
        self.rings = {node: {RING: (0.0, 20.0)} for node in NODES}
        self.stream = [event._replace(node=2) for event in self.read.changes]

    def judge(self) -> None:
        seen = Round(self.calls, self.durable, samples=self.samples, watches=[self.stream], rings=self.rings)
        Judge(NODES, Board()).check(seen, self.read, self.disks, self.stores)


def test_a_sound_round_is_found_sound(tmp_path: Path) -> None:
    """Else the other tests would say nothing."""
    Case(tmp_path).judge()


def lost_on_a_node(case: Case) -> None:
    del case.stores[1].outcomes[WRITES[0][0]]


def never_in_the_log(case: Case) -> None:
    case.calls.append(replace(case.calls[0], id=b"x" * 16, key="m"))


def refused_but_logged(case: Case) -> None:
    case.calls[2] = replace(case.calls[2], outcome=REFUSED, doubtful=False)
    del case.durable[2]


def on_one_disk_only(case: Case) -> None:
    case.durable[1] = case.durable[1]._replace(holders=(1,))


def other_tree(case: Case) -> None:
    case.stores[2].digest = bytes(32)


def other_tree_on_the_way(case: Case) -> None:
    case.samples.append(StoreSample(10.0, 3, 1, case.samples[0].revision, bytes(32)))


def older_state_shown(case: Case) -> None:
    case.samples.append(StoreSample(10.0, 3, 1, 1, b"of revision 1"))


def a_gap_in_a_watch(case: Case) -> None:
    del case.stream[2]


def a_watch_that_tells_another_change(case: Case) -> None:
    case.stream[1] = case.stream[1]._replace(change=Change(1, "rm", "k", None, 1, 0))


def no_order(case: Case) -> None:
    late = Call(b"r" * 16, "read", "k", 2, 1, 1, 5.0, WRITES[0][2], asked=5.0)
    late.ended, late.outcome, late.revision = 5.1, ACKED, 1
    case.calls.append(late)


def too_late(case: Case) -> None:
    case.calls[2].ended = 30.0


@pytest.mark.parametrize(
    "breaks, promise",
    [
        (lost_on_a_node, "S1"),
        (never_in_the_log, "S1"),
        (refused_but_logged, "S3"),
        (on_one_disk_only, "S1"),
        (other_tree, "S4"),
        (other_tree_on_the_way, "S4"),
        (older_state_shown, "S2"),
        (a_gap_in_a_watch, "watch"),
        (a_watch_that_tells_another_change, "watch"),
        (no_order, "S2"),
        (too_late, "S3"),
    ],
)
def test_a_broken_promise_is_found(tmp_path: Path, breaks: Callable[[Case], None], promise: str) -> None:
    """One wrong answer among right ones; the promise is named."""
    case = Case(tmp_path)
    breaks(case)
    with pytest.raises(Violation) as found:
        case.judge()
    assert found.value.promise == promise


def test_logs_that_differ_are_found(tmp_path: Path) -> None:
    """S4: the logs of all nodes are one log."""
    other = [WRITES[0], WRITES[2], WRITES[1]]
    disks = Disks({1: disk(tmp_path / "n1", *WRITES), 2: disk(tmp_path / "n2", *other)})
    with pytest.raises(Violation, match="different records at index 3"):
        disks.follow()


def test_a_record_that_no_disk_has_is_found(tmp_path: Path) -> None:
    """What was read once is not asked for again, but nothing may be missing behind it."""
    disks = Disks({1: disk(tmp_path / "n1", *WRITES)})
    disks.state.advance(1)
    disks.follow()
    assert disks.state.index == 4
    disks.state = type(disks.state)()
    (generations.folder(tmp_path / "n1", 1) / "log").rename(tmp_path / "away")
    log = generations.folder(tmp_path / "n1", 1) / "log"
    log.mkdir()
    made = records(*WRITES)
    file = LogFile.create(log, made[1].position)
    file.append(made[2:])
    file.close()
    with pytest.raises(Violation, match="no disk has record 1"):
        disks.follow()


def test_a_stop_of_its_node_excuses_a_late_answer() -> None:
    """S3 counts from the last attempt, and for the time that the process could run; node 0 is the whole machine."""
    call = calls()[0]
    call.asked, call.ended = 10.0, 20.0
    assert paused([(1, 5.0, 12.0), (1, 15.0, 17.0), (2, 10.0, 20.0)], call) == 4.0
    assert paused([(0, 19.5, 30.0)], call) == 0.5


def test_doubts_are_asked_of_every_node() -> None:
    """And a part of the others."""
    made = [replace(call, doubtful=number == 2) for number, call in enumerate(calls())]
    assert [call.id for call in asked_of_all(made)] == [WRITES[0][0], WRITES[2][0]]


def test_a_node_s_outcomes_are_named_as_in_the_log() -> None:
    """`fs outcome` tells a refusal in words, the checkers know its code."""

    class Client:
        def status(self) -> dict[str, object]:
            return {"store": {"revision": 3, "digest": "00" * 32}}

        def outcome(self, ident: str) -> dict[str, object]:
            told = {"a": ("done", 1, None), "b": ("refused", None, "no such entry"), "c": ("unknown", None, "lost")}
            outcome, revision, message = told[chr(bytes.fromhex(ident)[0])]
            return {"outcome": outcome, "revision": revision, "message": message}

    client: Any = Client()
    found = store_of(2, client, calls())
    assert found.outcomes == {WRITES[0][0]: ("OK", 1), WRITES[1][0]: ("NO_SUCH_ENTRY", 0)}
    assert Code.NO_SUCH_ENTRY.name == "NO_SUCH_ENTRY" and (found.node, found.revision) == (2, 3)


def test_what_a_new_ring_knows_of_holders_is_no_required_set(tmp_path: Path) -> None:
    """A repeated question, or one during which the ring changed, may be answered with those known to hold it now."""
    case = Case(tmp_path)
    on_one_disk_only(case)
    case.calls[1].attempts = 2
    case.judge()
    case.calls[1].attempts = 1
    case.rings[1] = {RING: (0.0, 2.3), RingId(5, 1, 7): (2.6, 20.0)}
    case.judge()


def test_what_was_never_judged_fails_a_run_that_was_long_enough() -> None:
    """Each checker has to have looked at something; only what needs luck may have seen nothing."""
    counts = Counter(dict.fromkeys(ALWAYS, 1))
    assert not_judged(counts, ENOUGH) == []
    counts["S2: local reads"] = 0
    assert not_judged(counts, ENOUGH) == ["S2: local reads"]
    assert not_judged(counts, ENOUGH / 2) == []
