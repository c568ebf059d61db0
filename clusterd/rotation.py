"""Cluster key rotations, as this node starts, ends and repeats them.

make a key, hand it to all inside the sessions -> all agree on its name, in order -> in use -> the old one retires

A rotation that comes to nothing leaves nothing behind: its key is given up, its number never used again. After a
removal the initiator rotates by itself (DESIGN 6), again and again until it is done.
"""

from __future__ import annotations

from collections import deque

from clusterd.changes import Changes, KeysChanged
from clusterd.reconfigure import Concluded, Kind, Reconfigure
from transport.core import earliest
from transport.errors import Refused
from transport.security import Security

DROP_OLD_KEY = 30.0
"""Seconds after a rotation until the old cluster key does nothing more but let a latecomer fetch the new one."""
AFTER_REMOVAL = 1.0
"""Seconds after a removal, and between two tries: by then who was removed is out of the ring, where all must agree."""


class Rotation:
    """True between any two calls: an old key that is still live has a time at which it retires."""

    def __init__(self, changes: Changes, security: Security, reconfigure: Reconfigure) -> None:
        self._changes = changes
        self._security = security
        self._reconfigure = reconfigure
        self._drop_at: float | None = None
        self._wanted_at: float | None = None
        self._under_way: tuple[bytes, int] | None = None  # change id and generation
        self._events: deque[KeysChanged] = deque()

    def begin(self, now: float) -> bytes:
        """Make a key and propose it; the change's id, whose Concluded follows. Raises Refused."""
        generation, secret = self._changes.new_key()
        self._security.add_cluster_key(generation, secret, now)
        try:
            change_id = self._reconfigure.propose(Kind.KEY, self._changes.name_key(generation), now)
        except Refused:
            self._changes.give_up_key(generation)
            raise
        self._under_way = change_id, generation
        self._tell(f"cluster key generation {generation} made")
        return change_id

    def concluded(self, event: Concluded) -> None:
        """A change of ours is over, perhaps a rotation."""
        if self._under_way is None or event.change_id != self._under_way[0]:
            return
        generation, self._under_way = self._under_way[1], None
        if not event.reasons:
            self._wanted_at = None
        elif self._changes.give_up_key(generation):
            self._tell(f"cluster key generation {generation} given up: {event.reasons[0]}")

    def apply(self, body: bytes, initiator: str, now: float) -> None:
        """All members agreed on this key. Raises Refused, BadArgument."""
        generation = self._changes.use_key(body)
        self._security.use_cluster_key(generation, now)
        self.watch(now)
        self._tell(f"cluster key generation {generation} in use, by {initiator}")

    def watch(self, now: float) -> None:
        """Keys came, by hand-over or from disk: one that another has replaced does not stay live."""
        if self._drop_at is None and self._changes.old_keys:
            self._drop_at = now + DROP_OLD_KEY

    def want(self, now: float) -> None:
        """A node was removed by us: a key it never saw is due."""
        self._wanted_at = now + AFTER_REMOVAL

    def next_event(self) -> KeysChanged | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        return earliest(self._drop_at, self._wanted_at)

    def handle_timeout(self, now: float, may: bool) -> None:
        """may: quorate, and all members of the ring are listed."""
        if self._drop_at is not None and now >= self._drop_at:
            self._drop_at = None
            for generation in self._changes.drop_old_keys():
                self._tell(f"cluster key generation {generation} ended")
        if self._wanted_at is not None and now >= self._wanted_at:
            self._wanted_at = now + AFTER_REMOVAL
            if may and self._under_way is None and not self._changes.old_keys:
                try:
                    self.begin(now)
                except Refused:
                    return  # another change is under way: at the next try

    def _tell(self, message: str) -> None:
        self._events.append(KeysChanged(message))
