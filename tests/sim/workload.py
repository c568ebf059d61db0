"""Clients that read and write at random nodes, and remember what they were told.

A client that gets no certain answer may ask again under the same id, at another node, as the product's own client does.
Register keys (put, compare-and-set, remove, read) are checked for linearizability; directories and renames live beside
them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from cfs.messages import Code, Kind, Operation
from tests.sim.clock import Clock
from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Call, History
from tests.sim.plan import Plan
from transport.ids import NodeId

CLIENTS = 6
RETRIES = 4
ASKED_FROM, ASKED_ON = 0.5, 1.0  # seconds: clients begin that long behind the start, and go on behind the last fault
BURSTS = (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 12)  # operations begun at one moment: a queue, mostly none
AVERAGE = sum(BURSTS) / len(BURSTS)


def last_path(node: NodeId) -> str:
    """What the last write at this node is written to (`write_at`), and nothing else."""
    return f"last{node}"


class Server(Protocol):
    """What a client asks of a node's local socket."""

    @property
    def process_number(self) -> int: ...
    def can_connect(self) -> bool: ...
    def log_index(self) -> int:
        """What a hello tells a client of the log."""
        ...

    def write(self, call: Call, operation: Operation) -> None: ...
    def read(self, call: Call) -> None: ...
    def read_local(self, call: Call) -> None: ...


class Workload:
    """Begins operations at the plan's rate until `stop`; hosts answer with `answered` and `lost`."""

    def __init__(
        self,
        plan: Plan,
        clock: Clock,
        random: Random,
        servers: Mapping[NodeId, Server],
        history: History,
        ended: Callable[[Call], None],
    ) -> None:
        self._plan = plan
        self._clock = clock
        self._random = random
        self._servers = servers
        self._history = history
        self._ended = ended
        self._numbers = 0
        self._home = {client: random.choice(plan.nodes) for client in range(CLIENTS)}
        self._seen: dict[str, int] = {}  # the newest revision of a key that a client was told
        self._operations: dict[bytes, Operation] = {}
        self.stopped = False

    def start(self, at: float) -> None:
        self._clock.at(at, self._next)

    def stop(self) -> None:
        self.stopped = True

    def _next(self) -> None:
        if self.stopped:
            return
        burst = self._random.choice(BURSTS)
        for _ in range(burst):
            self._begin(self._random.randrange(CLIENTS))
        self._clock.after(self._random.expovariate(self._plan.rate / AVERAGE), self._next)

    def _begin(self, client: int) -> None:
        node = self._choose(client)
        if node is None:
            return
        random = self._random
        kind = random.choices(("put", "cas", "read", "local", "rm", "mkdir", "mv"), (35, 20, 15, 15, 5, 5, 5))[0]
        self._numbers += 1
        number = self._numbers
        key = f"k{random.randrange(self._plan.keys)}"
        call = self._call(number, kind, key, node, client)
        if kind in ("read", "local"):
            self._history.calls.append(call)
            if kind == "read":
                self._servers[node].read(call)
            else:
                self._servers[node].read_local(call)
            return
        operation = self._operation(call, number)
        self._operations[call.id] = operation
        self._history.calls.append(call)
        self._servers[node].write(call, operation)

    def write_at(self, node: NodeId) -> Call:
        """One put at a given node, after everything healed: it must be acknowledged."""
        self._numbers += 1
        number = self._numbers
        call = self._call(number, "put", last_path(node), node, -1)
        operation = self._operation(call, number)
        self._operations[call.id] = operation
        self._history.calls.append(call)
        self._servers[node].write(call, operation)
        return call

    def ask(self, kind: str, operation: Operation, node: NodeId) -> None:
        """One operation drawn elsewhere, with its id and what it does; asked, and asked again, like all others."""
        self._numbers += 1
        server, now = self._servers[node], self._clock.now
        operation.writer, operation.time, operation.since = node, self._numbers, server.log_index()
        call = Call(
            operation.id, kind, operation.path, node, server.process_number, -1, now, to=operation.to, asked=now
        )
        self._operations[call.id] = operation
        self._history.calls.append(call)
        server.write(call, operation)

    def _call(self, number: int, kind: str, key: str, node: NodeId, client: int) -> Call:
        ident = number.to_bytes(4, "big") + self._random.randbytes(12)
        now = self._clock.now
        return Call(ident, kind, key, node, self._servers[node].process_number, client, now, asked=now)

    def _choose(self, client: int) -> NodeId | None:
        """A client stays with its node while it can connect there, mostly."""
        if self._random.random() < 0.05 or not self._servers[self._home[client]].can_connect():
            reachable = [node for node in self._plan.nodes if self._servers[node].can_connect()]
            if not reachable:
                return None
            self._home[client] = self._random.choice(reachable)
        return self._home[client]

    def _operation(self, call: Call, number: int) -> Operation:
        random = self._random
        since = self._servers[call.node].log_index()  # fixed here: every retry, wherever it goes, says the same
        made = Operation(call.id, Kind.PUT, call.key, writer=call.node, time=number, since=since)
        match call.kind:
            case "put" | "cas":
                size = random.choice((8, self._plan.value_bytes))
                made.data = call.value = f"{number}:".encode().ljust(size, b".")
                if call.kind == "cas":
                    known = self._seen.get(call.key, 0)
                    call.expected = made.condition = random.choice((known, known, known, known, 0))
            case "rm":
                made.kind = Kind.DELETE
            case "mkdir":
                made.kind, made.path = Kind.MKDIR, f"d{random.randrange(self._plan.keys)}"
            case "mv":
                made.kind = Kind.RENAME
                made.path, made.to = (f"d{index}" for index in random.sample(range(self._plan.keys), 2))
        call.key, call.to = made.path, made.to
        return made

    # -- answers ---------------------------------------------------------------------------------------------

    def answered(self, call: Call, code: Code, revision: int, detail: int) -> None:
        """The operation was judged in log order."""
        if code is Code.EXPIRED and call.doubtful:
            self.unknown(call)
            return
        call.ended, call.code = self._clock.now, code.name
        if code is Code.OK:
            call.outcome, call.revision = ACKED, revision
            if call.kind in ("put", "cas"):
                self._seen[call.key] = max(self._seen.get(call.key, 0), revision)
            elif call.kind == "rm":
                self._seen[call.key] = 0
        else:
            call.outcome, call.revision = FAILED, detail if code is Code.CONFLICT else 0
            if code is Code.CONFLICT:
                self._seen[call.key] = detail
        self._ended(call)

    def found(self, call: Call, value: bytes | None, revision: int) -> None:
        """A read was answered; revision of the entry, 0 when there is none."""
        call.ended, call.outcome, call.value, call.revision = self._clock.now, ACKED, value, revision
        self._seen[call.key] = revision
        self._ended(call)

    def refused(self, call: Call) -> None:
        call.ended, call.outcome = self._clock.now, UNKNOWN if call.doubtful else REFUSED
        self._ended(call)
        if call.doubtful:
            self._maybe_again(call)

    def unknown(self, call: Call) -> None:
        """The answer was OutcomeUnknown, or the connection ended before one came."""
        call.ended, call.outcome, call.doubtful = self._clock.now, UNKNOWN, True
        self._ended(call)
        self._maybe_again(call)

    def _maybe_again(self, call: Call) -> None:
        if call.is_read or call.attempts >= RETRIES or self._random.random() < 0.4:
            return
        self._clock.after(self._random.uniform(0.0, 1.0), self._again, call)

    def _again(self, call: Call) -> None:
        node = self._choose(max(call.client, 0))
        if self.stopped or node is None:
            return
        call.attempts += 1
        call.node, call.process, call.asked = node, self._servers[node].process_number, self._clock.now
        call.ended, call.outcome = None, ""
        self._servers[node].write(call, self._operations[call.id])
