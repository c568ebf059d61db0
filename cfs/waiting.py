"""Who on this node waits for an answer: writes for their outcome, linearizable reads for their barrier.

Source: DESIGN 4, S2 and S3: each gets exactly one answer, at the latest at its deadline. Events go to `tell`.
"""

from __future__ import annotations

from collections.abc import Callable

from cfs.messages import Applied, Operation
from cfs.proposals import Barriers, Pending, Proposals
from cfs.state import State
from cfs.status import BarrierDone, BarrierFailed, Event, Outcome, StoreSettings
from transport.core import earliest
from transport.ids import NO_RING, NodeId, RingId

Holders = Callable[[int], tuple[NodeId, ...]]  # whose disks are known to hold the log up to an index


class Waiting:
    """See the file's first lines. barriers: for the messages that carry them."""

    def __init__(self, settings: StoreSettings, holders: Holders, tell: Callable[[Event], None]) -> None:
        self._settings = settings
        self._holders = holders
        self._tell = tell
        self._proposals = Proposals(settings)
        self.barriers = Barriers(settings.deadline)

    def __bool__(self) -> bool:
        return len(self._proposals) > 0 or self.barriers.next_deadline() is not None

    def propose(self, operation: Operation, now: float) -> Pending | None:
        """See Proposals.add."""
        return self._proposals.add(operation, now)

    def unsent(self, ring: RingId) -> list[Pending]:
        """Writes not sent in this configuration yet."""
        return self._proposals.unsent(ring)

    def applied(self, operation: Operation, applied: Applied, index: int) -> None:
        """An operation became visible here."""
        pending = self._proposals.take(operation.id)
        if pending is not None:
            outcome = Outcome(pending.operation, applied.result, "", self._holders(index), applied.repeated)
            self._tell(outcome)

    def replaced(self, state: State) -> None:
        """This tree was taken over: some of what is waited for may have been done in it."""
        for pending in self._proposals.unsent(NO_RING):
            result = state.outcome(pending.operation.id)
            if result is not None:
                self._proposals.take(pending.operation.id)
                self._tell(Outcome(pending.operation, result, "", self._holders(result.index), repeated=True))

    def visible(self, index: int) -> None:
        """Everything up to this log index is visible: reads that waited for it may be answered."""
        for token in self.barriers.done(index):
            self._tell(BarrierDone(token))

    def expire(self, now: float) -> None:
        """Answer those whose deadline has come."""
        text = f"within {self._settings.deadline:g} s"
        for pending in self._proposals.expired(now):
            self._tell(Outcome(pending.operation, None, f"not committed {text}"))
        for token in self.barriers.expired(now):
            self._tell(BarrierFailed(token, f"not confirmed {text}"))

    def give_up(self, reason: str) -> None:
        """Nobody can tell here what becomes of them."""
        for pending in self._proposals.take_all():
            self._tell(Outcome(pending.operation, None, reason))
        for token in self.barriers.take_all():
            self._tell(BarrierFailed(token, reason))

    def next_deadline(self) -> float | None:
        return earliest(self._proposals.next_deadline(), self.barriers.next_deadline())
