"""Who asks whom for the leader's state, and who sends it: the part of the replica that lives as long as one choice.

Source: DESIGN 7; docs/protocol-store.md, "Transfer". A member that is not whole says NEED; the server (the leader, or
when that fell behind the lowest ready member) answers with START and a stream of CHUNKs, one member at a time. What is
logged after START was delivered the member keeps, and appends behind what came. What takes long (looking through a
tree, building one, appending many records) is done in turns (cfs/turns.py).
"""

from __future__ import annotations

from collections.abc import Callable

from cfs import turns, wire
from cfs.primary import Primary
from cfs.receiving import Kept, Received, Receiver
from cfs.records import EpochKind, EpochRecord, Lineage, RecordKind
from cfs.store import LocalStore
from cfs.transfer import Sender, differing
from cfs.turns import Turns
from transport.core import Log as Logger
from transport.errors import WireError
from transport.ids import NO_RING, NodeId

MAX_ASKS = 16  # transfers asked for in one configuration one right after the other; from then on
ASK_AGAIN = 30.0  # seconds between two: whatever is wrong (a disk with too little room for a store) may be put right


class CatchUp:
    """whole: the log is the leader's up to this place of the total order.

    complete: it is so but for what was kept, which is to be appended.
    kept: while not whole, records logged since START; None before.  asks: how often this node asked on this ring.
    due: when it may ask again, while it must wait.
    """

    def __init__(
        self, me: NodeId, primary: Primary, store: LocalStore, send: Callable[[wire.Message], None], say: Logger
    ) -> None:
        self.me = me
        self.whole = False
        self.complete = False
        self.asks = 0
        self.due: float | None = None
        self._ask_at = 0.0
        self.kept: Kept | None = None
        self._primary = primary
        self._store = store
        self._send = send
        self._say = say
        self._asked = False
        self._need: wire.Need | None = None
        self._receiver: Receiver | None = None
        self._sender: Sender | None = None
        self._starting = False
        self._work: Turns[None] | None = None  # what is under way in turns
        self._now = 0.0

    @property
    def received(self) -> int | None:
        """Bytes of a transfer that came so far; None: none under way."""
        return None if self._receiver is None else self._receiver.chunks * wire.CHUNK_BYTES

    @property
    def excluded(self) -> bool:
        """In a narrow primary a lost store of a data member is not resynced: it would look good without being it."""
        choice = self._primary.choice
        return choice is not None and choice.kind is EpochKind.NARROW and self.me in choice.lost

    # --- receiving -----------------------------------------------------------------------------------------------

    def ask(self, now: float) -> None:
        """Ask for what is missing, once the disk can take it; or make the first store."""
        primary, store = self._primary, self._store
        choice = primary.choice
        if choice is None or choice.leader is None or self.whole or self._asked or store.journal.bad(now):
            return
        if store.adopting or self.excluded:
            return
        if self.asks >= MAX_ASKS and now < self._ask_at:
            self.due = self._ask_at
            return
        self.due, self._ask_at = None, now + ASK_AGAIN
        self._asked = True
        self.asks += 1
        if choice.genesis and not primary.opened:  # once it is open the others hold records: those are asked for
            first = EpochRecord(primary.ring, NO_RING, 0, choice.data_set.version, choice.kind, 0, ())
            self.kept = Kept()
            store.begin(Lineage((first,), choice.data_set), now)
            return
        sums = b"".join(store.state.buckets())
        log = store.log
        self._need = wire.Need(primary.attempt, log.end, store.state.index, store.take_all, log.tail(), sums)
        self._send(self._need)

    def keep(self, kind: RecordKind, body: bytes) -> None:
        """A record was logged and this node is not whole."""
        if self.kept is not None and not self.kept.keep(kind, body):
            self._say.warning("store: too many writes while catching up, starting over")
            self.fail()

    def fail(self) -> None:
        """Nothing came of it: ask again."""
        self._receiver, self.kept, self._need, self._work = None, None, None, None
        self._asked = self.complete = False

    def take_kept(self) -> list[tuple[RecordKind, bytes]]:
        """A turn's worth of what was kept, to be appended; with the last of it this node is whole."""
        kept = self.kept.take(turns.ENTRIES) if self.kept is not None else []
        if self.kept is None or not self.kept.records:
            self.whole = True
            self.complete = False
            self._receiver, self.kept, self._need = None, None, None
        return kept

    def fell_behind(self) -> None:
        self.whole, self._asked = False, False

    # --- turns ---------------------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Is there something to do in turns?"""
        return self._work is not None or self.complete or (self._sender is not None and self._sender.paused)

    def turn(self, now: float) -> None:
        """A piece of what is under way."""
        self._now = now
        if self._sender is not None:
            self._sender.resume()
        if self._work is not None:
            next(self._work, None)

    def _tell(self, receiver: Receiver) -> Turns[None]:
        have = yield from receiver.have()
        self._work = None
        self._send(have)

    def _take(self, sender: NodeId, received: Received, fork: int) -> Turns[None]:
        try:
            if received.image is None:
                yield from self._store.catching_up(fork, received)
                self.complete = True
            else:
                adopt = yield from self._store.replacing(received, fork)
                adopt(self._now)
            self._work = None
        except (WireError, ValueError) as error:
            self._useless(sender, error)

    def _useless(self, sender: NodeId, error: Exception) -> None:
        self._say.error(f"store: transfer from node {sender} of no use: {error}")
        self._store.take_all = True
        self.fail()

    def _begin(self, work: Turns[None], now: float) -> None:
        self._work = work
        self.turn(now)  # most are over with the first

    def on_chunk(self, sender: NodeId, chunk: wire.Chunk, now: float) -> bool:
        """True when the log is complete now but for what was kept."""
        primary, receiver = self._primary, self._receiver
        if chunk.number != primary.transfer or sender != primary.source:
            return False
        if self._sender is not None and sender == self.me:
            self._sender.delivered()
            if chunk.last:
                self._sender = None
        if chunk.last and primary.target is not None:
            primary.needs.pop(primary.target, None)
        if receiver is None or receiver.start.number != chunk.number or self._work is not None or self.complete:
            return False
        try:
            received = receiver.feed(chunk)
        except WireError as error:
            self._useless(sender, error)
            return False
        if received is not None:
            self._begin(self._take(sender, received, receiver.start.after), now)
        return self.complete

    # --- sending -------------------------------------------------------------------------------------------------

    def on_need(self, sender: NodeId, need: wire.Need) -> None:
        primary = self._primary
        if need.attempt != primary.attempt or sender in primary.ready:
            return
        primary.needs[sender] = need
        if self._sender is not None and self._sender.start.target == sender:
            self._sender = None

    def serve(self, quorate: bool) -> None:
        """Begin the next transfer when this node is the one to send it, and send what may be under way."""
        primary = self._primary
        if self._sender is None and not self._starting and self._serves(quorate):
            target, need = next(iter(primary.needs.items()))
            self._starting = True
            self._send(self._start(target, need))
        while self._sender is not None and (chunk := self._sender.next_chunk()) is not None:
            self._send(chunk)

    def _serves(self, quorate: bool) -> bool:
        primary = self._primary
        return self.whole and bool(primary.needs) and primary.server() == self.me and (quorate or not primary.narrow)

    def _start(self, target: NodeId, need: wire.Need) -> wire.Start:
        """Log records when the member's log is equal to ours up to where they begin, else the state by difference."""
        primary, log = self._primary, self._store.log
        fork = log.fork(need.tail, need.end.index)
        by_log = (
            not need.whole
            and fork is not None
            and fork >= max(need.applied, log.base.index)
            and (fork < need.end.index or log.position(fork) == need.end)
        )
        buckets = None if by_log else differing(self._store.state, need)
        return wire.Start(primary.attempt, primary.transfer + 1, target, fork or 0, buckets)

    def on_start(self, sender: NodeId, start: wire.Start, now: float) -> None:
        primary, store = self._primary, self._store
        mine = sender == self.me and self._starting
        if sender == self.me:
            self._starting = False
        need = primary.needs.get(start.target)
        if start.attempt != primary.attempt or start.number != primary.transfer + 1 or need is None:
            return
        primary.transfer, primary.target, primary.source = start.number, start.target, sender
        self._sender = Sender(start, need, store.state, store.log, store.committed) if mine else None
        if start.target == self.me and self._need is not None and not self.whole and not self.complete:
            base = store.log.position(start.after)
            self._receiver, self.kept = Receiver(start, self._need, store.state, base), Kept()
            self._work = None
            if self._receiver.awaited:
                self._begin(self._tell(self._receiver), now)

    def on_have(self, sender: NodeId, message: wire.Have) -> None:
        start = self._sender.start if self._sender is not None else None
        if self._sender is not None and start is not None and (start.number, start.target) == (message.number, sender):
            self._sender.have(message)
