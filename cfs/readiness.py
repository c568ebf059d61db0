"""What this node says of its own copy: READY and LOST to all, and its claim on the token.

Source: DESIGN 7, "Claims", "Opening a primary"; docs/protocol-store.md, "One configuration", 4. Lives as long as one
choice. READY is said when this node is whole, quorate and has the leader's log on disk; LOST takes it back.
"""

from __future__ import annotations

from collections.abc import Callable

from cfs import wire
from cfs.catchup import CatchUp
from cfs.primary import Primary
from cfs.status import StoreSettings
from cfs.store import LocalStore
from transport.core import Log as Logger
from transport.ids import NodeId

MAX_UNWRITTEN = 100_000  # records a node with a failed disk keeps up with; beyond, it falls behind
MAX_UNWRITTEN_BYTES = 64 << 20  # of their bodies


class Readiness:
    """announced: READY was said, and not LOST since."""

    def __init__(
        self,
        me: NodeId,
        primary: Primary,
        catchup: CatchUp,
        store: LocalStore,
        settings: StoreSettings,
        send: Callable[[wire.Message], None],
        say: Logger,
    ) -> None:
        self.me = me
        self.announced = False
        self._primary = primary
        self._catchup = catchup
        self._store = store
        self._settings = settings
        self._send = send
        self._say = say
        self._from = 0  # the log index from which on this node's disk may count

    def whole(self) -> None:
        """The log is the leader's from here on."""
        self._from = self._store.log.end.index

    def tell(self, quorate: bool, now: float) -> None:
        """READY, LOST or nothing, as things stand."""
        store, journal, end = self._store, self._store.journal, self._store.log.end
        whole = self._catchup.whole
        if whole and journal.bad(now) and self._too_much_unwritten():
            self._say.error("store: the disk does not work for too long, this node falls behind")
            store.cut_unwritten()
            self._catchup.fell_behind()
            whole = False
        if not whole or journal.bad(now):
            if self.announced:
                self.announced = False
                self._send(wire.Lost())
            return
        if self.announced or not quorate or journal.on_disk < self._from:
            return
        self.announced = True
        self._send(wire.Ready(self._primary.attempt, end.index, end.chain))

    def _too_much_unwritten(self) -> bool:
        log = self._store.log
        count = log.end.index - self._store.journal.on_disk
        return count > MAX_UNWRITTEN or (count > 0 and log.size > self._settings.retain_bytes + MAX_UNWRITTEN_BYTES)

    def claim(self, now: float) -> int | None:
        """What this node's disk holds of the open epoch, as told on the token: the log index + 1."""
        primary, on_disk = self._primary, self._store.journal.on_disk
        if not self._catchup.whole or not primary.opened or self._store.journal.bad(now):
            return None
        if on_disk < max(self._from, primary.first_index):
            return None
        primary.claims[self.me] = on_disk
        return on_disk + 1
