"""Cluster key rotations, as this node starts, ends and repeats them.

make a key, hand it to all inside the sessions -> all agree on its name, in order -> in use -> the old one retires

A rotation that comes to nothing leaves nothing in the way: who made its key gives it up at once, all others at the
place in the order where the next one is proposed; its number is never used again by who knew of it.

After a removal a rotation is due (DESIGN 6) as long as the key in use is one that the removed node may hold. Every
member that put the removal in force remembers that, on disk (clusterd/removals.py), and says it then and at each
barrier, so all members of a ring know it; the lowest of them makes the key, again and again until it is in use. If
that one dies, the next ring has another lowest one.
"""

from __future__ import annotations

from collections import deque

from clusterd.changes import Changes, KeysChanged
from clusterd.reconfigure import Concluded, Kind, Reconfigure
from clusterd.removals import Removals
from transport.core import earliest
from transport.errors import Refused
from transport.keyring import MAX_AHEAD
from transport.security import Security

DROP_OLD_KEY = 30.0
"""Seconds after a rotation until the old cluster key does nothing more but let a latecomer fetch the new one."""
AFTER_REMOVAL = 1.0
"""Seconds after a removal, and between two tries: by then who was removed is out of the ring, where all must agree."""


class Rotation:
    """True between any two calls: an old key that is still live has a time at which it retires, and a rotation that is
    due a time at which it is tried."""

    def __init__(self, changes: Changes, security: Security, reconfigure: Reconfigure, removals: Removals) -> None:
        self._changes = changes
        self._security = security
        self._reconfigure = reconfigure
        self._removals = removals
        self._told = 0  # as `outside`, by other members
        self._drop_at: float | None = None
        self._try_at: float | None = None
        self._under_way: tuple[bytes, bytes] | None = None  # change id and the key's name
        self.events: deque[KeysChanged] = deque()
        self.retire_after = DROP_OLD_KEY

    def begin(self, now: float) -> bytes:
        """Make a key and propose it; the change's id, whose Concluded follows. Raises Refused."""
        self._reconfigure.check_free()  # first: a key is handed to all as soon as it is added
        generation, secret = self._changes.new_key(self.outside)
        self._security.add_cluster_key(generation, secret, now)
        name = self._changes.name_key(generation)
        change_id = self._reconfigure.propose(Kind.KEY, name, now)
        self._under_way = change_id, name
        self._tell(f"cluster key generation {generation} made")
        return change_id

    def concluded(self, event: Concluded) -> None:
        """A change of ours is over, perhaps a rotation."""
        if self._under_way is None or event.change_id != self._under_way[0]:
            return
        name, self._under_way = self._under_way[1], None
        if event.reasons:
            self._changes.give_up_key(name)  # the others do when the next one's turn comes
            self._tell(f"cluster key generation {int.from_bytes(name[:8], 'big')} given up: {event.reasons[0]}")

    def apply(self, body: bytes, initiator: str, now: float) -> None:
        """All members agreed on this key. Raises Refused, BadArgument."""
        generation = self._changes.use_key(body)
        self._security.use_cluster_key(generation, now)
        self.watch(now)
        self._tell(f"cluster key generation {generation} in use, by {initiator}")

    def watch(self, now: float) -> None:
        """Keys or removals came, by agreement, by hand-over or from disk: one key that another has replaced does not
        stay live, and none that a removed node may hold stays in use."""
        if self._drop_at is None and self._changes.old_keys:
            self._drop_at = now + self.retire_after
        if self._try_at is None and self.due:
            self._try_at = now + AFTER_REMOVAL

    def told(self, generation: int, now: float) -> None:
        """A member knows that a removed node may hold this cluster key, if there can be such a one."""
        if generation > self._security.current_key.generation + MAX_AHEAD:
            return
        self._told = max(self._told, generation)
        self.watch(now)

    @property
    def outside(self) -> int:
        """The newest cluster key that a removed node may hold, as far as is known here; 0 for none."""
        return max(self._removals.generation, self._told)

    @property
    def due(self) -> bool:
        """A removed node may hold the key in use."""
        return self.outside >= self._security.current_key.generation

    def next_event(self) -> KeysChanged | None:
        return self.events.popleft() if self.events else None

    def next_timeout(self) -> float | None:
        return earliest(self._drop_at, self._try_at)

    def handle_timeout(self, now: float, ours: bool) -> None:
        """ours: quorate, all members of the ring are listed, and this node is the lowest of them."""
        if self._drop_at is not None and now >= self._drop_at:
            self._drop_at = None
            for generation in self._changes.drop_old_keys():
                self._tell(f"cluster key generation {generation} ended")
        if self._try_at is not None and now >= self._try_at:
            self._try_at = now + AFTER_REMOVAL if self.due else None
            if self.due and ours and self._under_way is None and not self._changes.old_keys:
                try:
                    self.begin(now)
                except Refused:
                    return  # another change is under way: at the next try

    def _tell(self, message: str) -> None:
        self.events.append(KeysChanged(message))
