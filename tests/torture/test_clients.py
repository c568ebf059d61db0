"""What a client of the torture writes down: neither more nor less than it was told."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from clusterd.client import ClientError, Conflict, Failed, NoQuorum, NotFound, OutcomeUnknown
from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Call, Watched
from tests.torture.clients import Writer
from tests.torture.listeners import Watcher, ring_of
from transport.ids import NO_RING, RingId

IDENT = "ab" * 16 + "-1"


class Answers:
    """A client whose calls end as foretold, one after the other."""

    def __init__(self, *answers: dict[str, Any] | ClientError) -> None:
        self._answers = list(answers)

    def _next(self, *_: object, **__: object) -> dict[str, Any]:
        answer = self._answers.pop(0)
        if isinstance(answer, ClientError):
            raise answer
        return answer

    put = cas = cat = ls = remove = mkdir = move = write = _next


def asked(kind: str, *answers: dict[str, Any] | ClientError) -> tuple[Call, Writer]:
    """One operation, asked of node 1 as often as there are answers."""
    writer = Writer(0, 1, {1: "unused", 2: "unused"}, "d", ["d/k"], threading.Event(), lambda node: 3)
    client: Any = Answers(*answers)
    writer._clients[1] = client
    call = writer.begin(IDENT, kind, "d/k", 1, b"x", 7 if kind == "cas" else None)
    for _ in answers:
        writer.ask(call, 1, IDENT, 1.0)
    return call, writer


def test_an_acknowledgement_has_its_revision_and_disks() -> None:
    """What S1 is judged by."""
    call, writer = asked("put", {"revision": 5, "durable_on": [1, 2]})
    assert (call.outcome, call.revision, call.process) == (ACKED, 5, 3)
    assert [(ack.proposer, ack.holders, ack.votes) for ack in writer.durable] == [(1, (1, 2), {1: 1, 2: 1})]


@pytest.mark.parametrize(
    "kind, error, outcome, revision",
    [
        ("put", NoQuorum("no"), REFUSED, 0),
        ("put", OutcomeUnknown("who knows"), UNKNOWN, 0),
        ("cas", Conflict("other", current_revision=9), FAILED, 9),
        ("rm", NotFound("none"), FAILED, 0),
        ("read", NotFound("none"), ACKED, 0),
        ("read", NoQuorum("no"), UNKNOWN, 0),
        ("mv", Failed("a file is there"), FAILED, 0),
        ("put-staged", Failed("parts are gone", reason="staging_gone"), UNKNOWN, 0),
    ],
)
def test_an_error_is_written_down_as_what_it_says(kind: str, error: ClientError, outcome: str, revision: int) -> None:
    """A refusal happened never, a judgement in the log did, the rest is in doubt."""
    call, writer = asked(kind, error)
    assert (call.outcome, call.revision, writer.odd) == (outcome, revision, [])


def test_a_refusal_ends_no_doubt() -> None:
    """Of a repeated request it says: not this time. The first attempt may still have happened."""
    call, _ = asked("put", OutcomeUnknown("who knows"), NoQuorum("no"))
    assert call.outcome == UNKNOWN


def test_an_answer_nobody_should_be_given_is_kept() -> None:
    """A put of a register fails in no way of its own."""
    _, writer = asked("put", Failed("something else"))
    assert len(writer.odd) == 1


def test_a_watcher_goes_on_where_it_was() -> None:
    """Each round's stream begins with the revision that the one before ended with."""
    watcher = Watcher(0, 1, {1: "unused"})
    for revision in (4, 5, 6):
        watcher._told(Watched(0.0, 1, revision, None, NO_RING))
    assert [event.revision for event in watcher.take()] == [4, 5, 6]
    watcher._told(Watched(0.0, 1, 7, None, NO_RING))
    assert [event.revision for event in watcher.take()] == [6, 7]
    assert watcher.known == 7


def test_a_ring_is_known_by_its_name() -> None:
    """REP.SEQHEX, as `status` prints it; no ring is none."""
    assert ring_of("3.1f") == RingId(0x1F, 3, 0)
    assert ring_of(None) == NO_RING
