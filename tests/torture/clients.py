"""Clients that do every kind of operation through any node, and write down what they were told.

Each operation becomes a Call of the simulator's history, so that its checkers can judge it. Registers (put, compare and
set, remove, read, local read) have unique values; directories, renames, parts of files and uploads live beside them.
A client mostly stays with a node. Whoever is told "outcome unknown" half of the time makes the same request again, at
any node; most are impatient, and some wait longer than the daemon may take to answer.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable

from clusterd.client import Client, ClientError, Conflict, LimitExceeded, NotFound, OutcomeUnknown
from clusterd.client.errors import Denied, NoDaemon, NoQuorum, Timeout
from clusterd.control import shapes
from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Call, Durable, StoreSample
from tests.torture.moments import clock
from transport.ids import NO_RING

PACE = 0.04  # seconds between two operations of a client, on average
IMPATIENT, PATIENT = 1.5, 15.0  # seconds a client waits
STAYS = 0.95  # how often a client asks the node it asked last
LARGE = 300_000  # bytes: too many for one message, so it is uploaded in chunks
UPLOADS = 0.002
KINDS = {
    "put": 30,
    "cas": 20,
    "rm": 6,
    "read": 16,
    "local": 12,
    "mkdir": 3,
    "parents": 2,
    "mv": 3,
    "move": 2,
    "make": 3,
    "part": 4,
    "delete": 4,
}
"""How often each is drawn. mkdir, mv and parents share directories; make, move, part and delete share files."""
REGISTERS = ("put", "cas", "rm")  # of these none may fail in a way of its own
CHANGED_NOTHING = (NoDaemon, NoQuorum, Timeout, Denied, LimitExceeded)


class Writer(threading.Thread):
    """One client until `enough` is set.

    calls: all it did.  durable: whose disks it was told to have a write.  shown: revisions of its local reads.
    odd: answers nobody should be given.
    """

    def __init__(
        self,
        number: int,
        seed: int,
        sockets: dict[int, str],
        folder: str,
        keys: list[str],
        enough: threading.Event,
        lives: Callable[[int], int],
    ) -> None:
        """sockets: node -> path. lives: which life of a node runs now, for the history."""
        super().__init__(name=f"client {number}", daemon=True)
        self.number = number
        self._draw = random.Random(seed)
        self._sockets = sockets
        self._home = self._draw.choice(list(sockets))
        self._folder, self._keys = folder, keys
        self._enough = enough
        self._lives = lives
        self._clients: dict[int, Client] = {}
        self._seen: dict[str, int] = {}  # newest revision of a key this client knows of
        self.calls: list[Call] = []
        self.durable: list[Durable] = []
        self.shown: list[StoreSample] = []
        self.odd: list[str] = []
        self.problem: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._enough.is_set():
                self._one()
                self._enough.wait(self._draw.expovariate(1 / PACE))
        except BaseException as error:
            self.problem = error
        finally:
            self.close()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def _at(self, node: int) -> Client:
        if node not in self._clients:
            self._clients[node] = Client(self._sockets[node], timeout=IMPATIENT, name=self.name)
        return self._clients[node]

    def _one(self) -> None:
        draw = self._draw
        if draw.random() > STAYS:
            self._home = draw.choice(list(self._sockets))
        patience = draw.choice((IMPATIENT, IMPATIENT, IMPATIENT, PATIENT))
        ident = self.new_id(self._home)
        if not ident:
            return
        call = self._drawn(self._home, ident)
        self.ask(call, self._home, ident, patience)
        if call.outcome == UNKNOWN and not call.is_read and draw.random() < 0.5 and not self._enough.is_set():
            call.attempts += 1
            call.doubtful = True
            self._enough.wait(draw.random())
            self.ask(call, draw.choice(list(self._sockets)), ident, patience)

    def new_id(self, node: int) -> str:
        """A new operation's id, "" when nobody there says where the log is."""
        try:
            return self._at(node).new_operation_id(IMPATIENT)
        except ClientError:
            return ""

    def _drawn(self, node: int, ident: str) -> Call:
        draw = self._draw
        kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
        if draw.random() < UPLOADS:
            kind = "put-staged"
        number = len(self.calls)
        key, value, to = draw.choice(self._keys), None, ""
        expected = self._seen.get(key, 0) if kind == "cas" else None
        text = f"{self.number}.{number}".encode()
        directories = [f"{self._folder}/d{index}" for index in range(3)]
        others = [f"{self._folder}/e{index}" for index in range(6)]
        files = [f"{self._folder}/f{index}" for index in range(3)] + [f"{directories[0]}/in/f"]
        match kind:
            case "put" | "cas":
                value = text.ljust(draw.choice((0, 200, 3000)), b".")
            case "mkdir":
                key = draw.choice(directories)
            case "mv":
                key, to = draw.choice(directories), draw.choice(others)
            case "parents":
                key = f"{draw.choice(directories)}/in"
            case "move":
                key, to = draw.sample(files, 2)
            case "make" | "part":
                key, value = draw.choice(files), text
            case "delete":
                key = draw.choice((*directories, *others, *files))
            case "put-staged":
                key, value = f"{self._folder}/large{draw.randrange(3)}", text.ljust(LARGE, b".")
        return self.begin(ident, kind, key, node, value, expected, to)

    def begin(
        self,
        ident: str,
        kind: str,
        key: str,
        node: int,
        value: bytes | None = None,
        expected: int | None = None,
        to: str = "",
    ) -> Call:
        """A call of this client's, not asked yet."""
        call = Call(
            bytes.fromhex(ident.partition("-")[0]),
            kind,
            key,
            node,
            self._lives(node),
            self.number,
            clock(),
            value,
            expected,
            to,
        )
        self.calls.append(call)
        return call

    def ask(self, call: Call, node: int, ident: str, patience: float) -> None:
        """Do it at this node, and write down how it ended."""
        client = self._at(node)
        call.node, call.process, call.asked = node, self._lives(node), clock()
        before = call.outcome
        try:
            self._do(call, client, ident, patience)
            call.outcome = ACKED
            self._seen[call.key] = call.revision
        except OutcomeUnknown:
            call.outcome = UNKNOWN
        except CHANGED_NOTHING:
            # Of a repeated request that says: not this time. The first one may still have happened.
            call.outcome = before or (UNKNOWN if call.is_read else REFUSED)
        except Conflict as error:
            call.outcome = FAILED
            if error.current_revision is not None:
                call.code, call.revision = "CONFLICT", error.current_revision
                self._seen[call.key] = call.revision
        except NotFound:
            call.outcome, call.revision = (ACKED, 0) if call.is_read else (FAILED, 0)
            if call.is_read:
                call.value = None
            self._seen[call.key] = 0
        except ClientError as error:
            # A read may be refused while the node waits to hear which of its records count. An entry may be a file
            # where a directory is needed, and the like; an upload's parts may have been dropped on the way.
            call.outcome = UNKNOWN if call.is_read or error.spent else FAILED
            if call.kind in REGISTERS:
                call.outcome = UNKNOWN
                self.odd.append(f"{call} at node {node}: {error.code}: {error.message}")
        call.ended = clock()

    def _do(self, call: Call, client: Client, ident: str, patience: float) -> None:
        key, value = call.key, call.value
        match call.kind:
            case "read":
                found = client.cat(key, linearizable=True, timeout=patience)
                call.value, call.revision = bytes(found["data"]), found["revision"]
            case "local":
                listing = client.ls(self._folder)
                call.revision = listing["revision"]
                self.shown.append(StoreSample(call.asked, call.node, call.process, call.revision, b""))
            case "put" | "make" | "put-staged":
                assert value is not None
                self._written(call, client.put(key, value, timeout=patience, operation_id=ident))
            case "cas":
                assert value is not None and call.expected is not None
                self._written(call, client.cas(key, value, call.expected, timeout=patience, operation_id=ident))
            case "part":
                assert value is not None
                offset = len(value) % 7
                self._written(call, client.write(key, offset, value, timeout=patience, operation_id=ident))
            case "mkdir" | "parents":
                parents = call.kind == "parents"
                call.revision = client.mkdir(key, parents=parents, timeout=patience, operation_id=ident)["revision"]
            case "mv" | "move":
                call.revision = client.move(key, call.to, timeout=patience, operation_id=ident)["revision"]
            case "rm" | "delete":
                recursive = call.kind == "delete"
                call.revision = client.remove(key, recursive=recursive, timeout=patience, operation_id=ident)[
                    "revision"
                ]

    def _written(self, call: Call, answer: shapes.Written) -> None:
        call.revision = answer["revision"]
        votes = dict.fromkeys(self._sockets, 1)
        self.durable.append(Durable(clock(), call.id, call.node, tuple(answer["durable_on"]), votes, NO_RING))
