"""S3: every operation ends. Right histories are taken, wrong ones found."""

from __future__ import annotations

import pytest

from tests.sim.checkers import ended
from tests.sim.histories import broken, call, history_of, ident
from tests.sim.history import (
    REFUSED,
    UNKNOWN,
    Violation,
)


def test_an_operation_that_never_ends_is_caught() -> None:
    """S3: unless the process it was asked of died."""
    history = history_of(call(1, "put", 0.0, None, ""))
    assert broken(ended.check_every_call_ended, history) == "S3"
    history.processes[0].ended = 3.0
    ended.check_every_call_ended(history)


def test_an_operation_that_takes_too_long_is_caught() -> None:
    """S3: unknown at the latest at the commit deadline, pauses of the process not counted."""
    slow = call(1, "put", 0.0, 7.0, UNKNOWN)
    with pytest.raises(Violation, match="took 7"):
        ended.check_deadline(slow, 0.0)
    ended.check_deadline(slow, 2.0)


def test_a_refused_operation_in_a_log_is_caught() -> None:
    """S3: refused means that it never entered a log."""
    history = history_of(call(1, "put", 0.0, 1.0, REFUSED))
    ended.check_refused_never_appears(history)
    history.logged = frozenset([ident(1)])
    assert broken(ended.check_refused_never_appears, history) == "S3"


def test_only_pauses_within_a_call_excuse_it() -> None:
    """S3: the deadline is put off by the time in which the process could not run, and no other."""
    history = history_of()
    history.pauses = [(1, 2.0, 3.0), (1, 6.0, 9.0), (2, 5.0, 8.0)]
    assert ended.stopped(history, 1, 4.0, 7.0) == 1.0
    assert ended.stopped(history, 1, 0.0, 10.0) == 4.0
    assert ended.stopped(history, 3, 0.0, 10.0) == 0.0
