"""A process of the past: a virtual machine put back with its memory goes on in the middle of what it did.

Its clocks went back as well, and nobody on the machine is told. It hears the present, and what it says was said before,
under counters that the others drop. Their pings tell it so (clusterd/past.py), and it ends; until then it must not be
taken for the node that was there: it has a yes for no longer than its lease was good for when the snapshot was made,
or in a ring that is quorate without those who remember more of it.
No client asks it anything. Whether it is noticed or not, after LONGEST somebody starts its daemon anew.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from copyreg import pickle
from dataclasses import dataclass
from types import FunctionType

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from cfs.disk import Adopt, AppendLog, Checkpoint, MarkCommit, TruncateTail
from clusterd.node import Node
from clusterd.past import WentBack
from quorum.events import SaveState
from tests.sim.clock import Clock
from tests.sim.history import Violation
from tests.sim.network import Address, Network
from tests.sim.small_files import quorum_file
from tests.sim.storage import Storage
from transport.events import Persist
from transport.ids import LinkId, NodeId

LEAST = 1.5
"""Seconds between a snapshot and the going back to it: less is not noticed for sure (docs/operations.md)."""
LONGEST = 6.0
"""Seconds that it goes on at most."""
SLIVER = 1e-6

# Keys never change, and their classes allow no copies: a string says that the object is its own copy.
pickle(AESGCM, lambda key: "the same")
pickle(X25519PrivateKey.from_private_bytes(bytes(32)).__class__, lambda key: "the same")


@dataclass(slots=True)
class Machine:
    """What of a host the process goes on with."""

    me: NodeId
    clock: Clock
    network: Network
    storage: Storage
    now: Callable[[], float]
    true: Callable[[float], float]


class Shadow:
    """noticed: by itself, told by others, and it is over. over: called then. knowing: who remembers more of it now."""

    def __init__(
        self, node: Node, machine: Machine, over: Callable[[], None], knowing: Callable[[], Set[NodeId]]
    ) -> None:
        self._node = node
        self._knowing = knowing
        self._machine = machine
        self._over = over
        self._ended = False
        self._due: float | None = None
        self._inbox: list[tuple[LinkId, Address, bytes]] = []
        self._no_longer = machine.now() + node.votequorum._lease.length + SLIVER  # a yes of then
        self.noticed = False
        node.handle_timeout(machine.now())
        self._after()

    def end(self) -> None:
        """Nothing more of it."""
        self._ended = True

    def inject(self, link: LinkId, address: Address, data: bytes) -> None:
        if not self._inbox:
            self._machine.clock.after(100e-6, self._read)
        self._inbox.append((link, address, data))

    def disk_answered(self, receipt: int, error: str | None) -> None:
        if not self._ended:
            self._node.disk_answered([(receipt, error)], self._machine.now())
            self._after()

    def file_written(self, file: Persist) -> None:
        if not self._ended and file.receipt:
            self._node.file_written(file.receipt, self._machine.now())
            self._after()

    def _read(self) -> None:
        batch, self._inbox = self._inbox, []
        if not self._ended:
            self._node.receive(batch, self._machine.now())
            self._after()

    def _timer(self, due: float) -> None:
        if due != self._due or self._ended:
            return
        self._due = None
        self._node.handle_timeout(self._machine.now())
        self._after()

    def _after(self) -> None:
        machine, node = self._machine, self._node
        now = machine.now()
        while True:
            while (out := node.poll_transmit(now)) is not None:
                machine.network.send(machine.me, out.link, out.address, out.data)
            event = node.next_event()
            if event is None:
                break
            if isinstance(event, WentBack):
                self.noticed = self._ended = True
                self._over()
                return
            self._keep(event)
        if now > self._no_longer and node.quorate(now) and not node.votequorum._lease.free and not self._is_of_now():
            text = f"node {machine.me}, put back with its memory, says yes by more than it knew then"
            raise Violation(machine.clock.now, "Q4", text)
        deadline = node.next_timeout()
        if deadline is not None:
            due = max(machine.true(deadline), machine.clock.now)
            if self._due is None or due < self._due:
                self._due = due
                machine.clock.at(due, self._timer, due)

    def _is_of_now(self) -> bool:
        """Is it quorate by the answers of nodes that remember no more of it than it does?"""
        view, ring = self._node.votequorum.view(), self._node.endpoint.srp.ring_id
        around = view.votes.keys() - self._knowing()
        return view.verdict.ring_id == ring and sum(view.votes[node] for node in around) >= view.verdict.quorum

    def _keep(self, event: object) -> None:
        """Its disk goes on with it. It lives too shortly for anything but the store, the ring and the verdict."""
        storage = self._machine.storage
        match event:
            case AppendLog() | Adopt() | TruncateTail() | Checkpoint() | MarkCommit():
                storage.request(event)
            case Persist():
                storage.persist(event)
            case SaveState():
                storage.persist(quorum_file(event))


def knows_more(other: Node, node: Node) -> bool:
    """Has `other` heard of `node` what that does not know of itself? By the numbers of its pings (link/memory.py)."""
    for (peer, link), path in other.endpoint.links._paths.items():
        here = node.endpoint.links._paths.get((other.me, link)) if peer == node.me else None
        theirs = path.memory
        if here is not None and theirs._their_tag == here.memory._tag and theirs._their_top > here.memory.given:
            return True
    return False


def untapped(node: Node) -> None:
    """A copy of a node that the checkers followed: their taps lead to the one that was copied."""
    for part in (node.endpoint, node.endpoint.srp, node.votequorum):
        for name, value in list(vars(part).items()):
            if isinstance(value, FunctionType) and hasattr(type(part), name):
                delattr(part, name)
