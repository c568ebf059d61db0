"""What members say that cannot be read or makes no sense: counted, without votes, and bounded in the log."""

from __future__ import annotations

from typing import Any

from quorum import messages
from quorum.messages import CancelWait, SetExpected, SetVotes, encode
from quorum.votequorum import SavedState, Votequorum
from tests.quorum.world import World, options_of
from transport.core import SilentLog
from transport.ids import RingId


def test_member_without_a_readable_word_counts_no_votes() -> None:
    """Sync barrier: a malformed nodeinfo counts as votes 0."""
    world = World(options_of(3))
    core = world.nodes[1]
    core.sync_init((1, 2, 3), RingId(1, 1), (1,), 0.0)
    core.sync_activate({1: core.sync_state(), 2: b"\x01\xff"}, 0.0)
    assert world.numbers(1) == (3, 1, 2, False)
    assert core.malformed == 2


def test_messages_of_strangers_and_garbage_are_counted() -> None:
    world = World(options_of(3))
    world.ring(1, 2, 3)
    core = world.nodes[1]
    core.receive(9, messages.encode(messages.SetExpected(1)), 0.0)
    core.receive(2, b"", 0.0)
    core.receive(2, messages.encode(messages.SetVotes(7, 1)), 0.0)
    assert core.malformed == 3
    assert world.numbers(1) == (3, 3, 2, True)


class Lines(SilentLog):
    """A Log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, event: str, **fields: Any) -> None:
        self.lines.append(event)

    warning = error = info


def test_a_member_does_not_fill_the_log_of_the_others() -> None:
    """Votes set again and again, and a word that cannot be read in ring after ring, are not a line each for ever."""
    log = Lines()
    core = Votequorum(1, options_of(3), SavedState(), lambda n: f"n{n}", log)
    for seq in range(1, 1001):
        core.sync_init((1, 2), RingId(seq, 1), (1, 2), 1.0)
        core.sync_activate({1: core.sync_state(), 2: b"?"}, 1.0)
        core.receive(2, encode(SetExpected(1 + seq % 9)), 1.0)
        core.receive(2, encode(SetVotes(2, seq % 5)), 1.0)
        core.receive(2, encode(CancelWait()), 1.0)
        core.beat((2,), 1.0, 1.0)
    assert 10 < len(log.lines) < 100
    before = len(log.lines)
    core.receive(2, encode(SetVotes(2, 1)), 100.0)
    said = log.lines[before:]
    assert said[0].startswith("n2 sets the votes of n2 to 1 (") and said[0].endswith(
        " lines before this one were left out)"
    )
