"""Changes of the cluster for callers that wait: handed to the node, answered by what the members said or by what they
then count with. None is waited for longer than CHANGE_DEADLINE, or by a node that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from clusterd.control.errors import ConfigRefused
from clusterd.reconfigure import Concluded
from transport.errors import NoQuorum, OutcomeUnknown, Refused

CHANGE_DEADLINE = 15.0
"""Seconds."""
_NOT_SAVED = (
    "it is in force on all members, but this node cannot save it and tries again every second (its log says why): "
    "if all lose power now, it may be undone; look at status"
)


class Agreements:
    """Those that somebody at this node waits for."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._changes: dict[bytes, asyncio.Future[Concluded]] = {}
        self._expected: list[tuple[int, asyncio.Future[None]]] = []

    async def run(self, propose: Callable[[], bytes]) -> None:
        """Run a change of the configuration to its end. Raises ConfigRefused with every member's reasons."""
        try:
            change_id = propose()
        except NoQuorum:
            raise
        except Refused as error:
            raise ConfigRefused(str(error), tuple(str(error).split("; "))) from None
        future: asyncio.Future[Concluded] = self._loop.create_future()
        self._changes[change_id] = future
        try:
            concluded = await asyncio.wait_for(future, CHANGE_DEADLINE)
        except TimeoutError:
            raise OutcomeUnknown("the change was sent to all members but not concluded; look at status") from None
        finally:
            self._changes.pop(change_id, None)
        if concluded.unknown:
            raise OutcomeUnknown("; ".join(concluded.reasons) + "; look at status before asking again")
        if concluded.reasons:
            raise ConfigRefused(concluded.reasons[0], concluded.reasons)

    def concluded(self, event: Concluded, saved: bool) -> None:
        """saved: what it changed is in this node's files. An answer before that would be undone by a loss of power."""
        future = self._changes.pop(event.change_id, None)
        if future is None or future.done():
            return
        if saved or event.reasons:
            future.set_result(event)
        else:
            future.set_exception(OutcomeUnknown(_NOT_SAVED))

    async def expect(self, votes: int, now_expected: int, ask: Callable[[], None]) -> None:
        """Have so many votes expected, and see it in force. now_expected: what is.  ask: hands it to the node.

        Raises what `ask` does, and OutcomeUnknown.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        if now_expected == votes:
            future.set_result(None)
        waiting = (votes, future)
        self._expected.append(waiting)
        try:
            ask()
            await asyncio.wait_for(future, CHANGE_DEADLINE)
        except TimeoutError:
            raise OutcomeUnknown("the new expected votes were sent but not seen in force; look at quorum") from None
        finally:
            self._expected.remove(waiting)

    def expected(self, votes: int) -> None:
        """So many are, by a verdict just told."""
        for wanted, future in list(self._expected):
            if votes == wanted and not future.done():
                future.set_result(None)

    def give_up(self, error: Exception) -> None:
        """Nobody can tell here any more what becomes of them."""
        waiting: list[asyncio.Future[Any]] = [*self._changes.values(), *(future for _, future in self._expected)]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
