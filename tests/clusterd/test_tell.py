"""Log lines at the default level as an administrator reads them: what happened, once, and no passing step."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from cfs.status import Replaced
from clusterd.tell import LASTING, Teller


class Lines:
    """A Log that keeps what was said above debug."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def debug(self, event: str, **fields: Any) -> None: ...

    def info(self, event: str, **fields: Any) -> None:
        self.said.append(event)

    warning = error = info


class Told:
    """A teller, what it logged, what subscribers were told, and a store whose status can be set."""

    def __init__(self) -> None:
        self.log = Lines()
        self.events: list[Any] = []
        self.store = SimpleNamespace(state="syncing", writable=False, reason="", revision=0, alarm=False)
        config = SimpleNamespace(votes={1: 1, 2: 1, 3: 1}, name_of="hp{}".format)
        node: Any = SimpleNamespace(
            me=1,
            replica=SimpleNamespace(status=lambda: self.store),
            changes=SimpleNamespace(config=config),
        )
        notify: Any = SimpleNamespace(status=lambda text: None)
        self.waiting: list[Callable[[], None]] = []
        self.teller = Teller(node, self.log, notify, self.events.append, self._later)

    def _later(self, seconds: float, what: Callable[[], None]) -> None:
        assert seconds == LASTING
        self.waiting.append(what)

    def time_passes(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()

    def status(self, state: str, reason: str = "", revision: int = 5) -> None:
        self.store = SimpleNamespace(state=state, writable=not reason, reason=reason, revision=revision, alarm=False)
        self.teller.store_status()

    def verdict(self, quorate: bool, reason: str) -> None:
        verdict: Any = SimpleNamespace(quorate=quorate, reason=reason, ring_id="1.2", members=(1, 2))
        self.teller.verdict(verdict)


@pytest.fixture
def told() -> Told:
    return Told()


CHANGING = "the membership of the cluster is changing"


def test_what_every_change_of_membership_passes_through_is_not_logged(told: Told):
    """Writable before and after: subscribers hear of the moment between, the log of nothing."""
    told.status("synced")
    told.status("syncing", CHANGING)
    told.status("syncing", "waiting until nodes 1, 2 have the same state on disk")
    told.status("synced")
    told.time_passes()
    assert told.log.said == ["store: synced at revision 5, writable"]
    assert len(told.events) == 4


def test_what_lasts_is_logged_with_the_reason_it_has_then(told: Told):
    """A store that stays read-only says why, once."""
    told.status("synced")
    told.status("syncing", CHANGING)
    told.status("syncing", "this node is not quorate: 2 of 3 votes needed, 1 present")
    told.time_passes()
    told.time_passes()
    assert told.log.said[1:] == [
        "store: syncing at revision 5, read-only: this node is not quorate: 2 of 3 votes needed, 1 present"
    ]


@pytest.mark.parametrize("state", ["damaged", "disk_error"])
def test_what_needs_somebody_is_logged_at_once(told: Told, state: str):
    """A disk that fails for a moment has failed."""
    told.status("synced")
    told.status(state, "the disk is full")
    assert told.log.said[-1] == f"store: {state} at revision 5, read-only: the disk is full"


def test_votes_are_told_at_each_change_of_them(told: Told):
    """How close to the edge: also when the verdict stays what it was (which quorum/ logs itself when it changes)."""
    told.verdict(True, "2 of 3 votes needed, 3 present")
    told.verdict(True, "2 of 3 votes needed, 3 present")
    told.verdict(True, "2 of 3 votes needed, 2 present")
    assert told.log.said == ["still quorate: 2 of 3 votes needed, 2 present"]
    assert [event["type"] for event in told.events] == ["quorum"]


def test_an_empty_tree_that_is_replaced_is_no_news(told: Told):
    """At the first start of a cluster nothing of anybody's was replaced."""
    told.status("syncing", "this node is catching up", revision=0)
    told.teller.store(Replaced("taken over"))
    told.status("synced", revision=7)
    assert not any("replaced" in line for line in told.log.said)
    told.teller.store(Replaced("taken over"))
    assert told.log.said[-1] == "store: the tree was replaced: taken over"
