"""Clients that write, compare and set, remove and read a few keys through any node, and write down what they were told.

Each operation becomes a Call of the simulator's history, so that its checker of linearizability can judge it: an
acknowledged write that is lost, or an answer nobody could have been given, leaves no order that explains the answers.
Values are unique. Whoever is told "outcome unknown" half of the time makes the same request again, at any node.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable

from clusterd.client import Client, ClientError, Conflict, LimitExceeded, NotFound, OutcomeUnknown
from clusterd.client.errors import Denied, NoDaemon, NoQuorum, Timeout
from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Call

PACE = 0.02  # seconds between two operations of a client, on average
PATIENCE = 3.0  # seconds an operation may take
NOTHING_HAPPENED = (NoDaemon, NoQuorum, Timeout, Denied, LimitExceeded)


class Writer(threading.Thread):
    """One client until `enough` is set; `calls` is read when it has ended."""

    def __init__(
        self,
        number: int,
        seed: int,
        sockets: dict[int, str],
        keys: list[str],
        enough: threading.Event,
        lives: Callable[[int], int],
    ) -> None:
        """sockets: node -> path. lives: which life of a node runs now, for the history."""
        super().__init__(name=f"client {number}", daemon=True)
        self.number = number
        self._draw = random.Random(seed)
        self._sockets = sockets
        self._keys = keys
        self._enough = enough
        self._lives = lives
        self._clients: dict[int, Client] = {}
        self._seen: dict[str, int] = {}  # newest revision of a key this client knows of
        self.calls: list[Call] = []
        self.odd: list[str] = []  # answers nobody should be given
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
            self._clients[node] = Client(self._sockets[node], timeout=PATIENCE, name=self.name)
        return self._clients[node]

    def _one(self) -> None:
        draw = self._draw
        kind = draw.choices(("put", "cas", "rm", "read"), (5, 3, 1, 4))[0]
        node, key = draw.choice(list(self._sockets)), draw.choice(self._keys)
        ident = draw.randbytes(16)
        value = f"{self.number}.{len(self.calls)}.{ident.hex()[:8]}".encode() if kind in ("put", "cas") else None
        expected = self._seen.get(key, 0) if kind == "cas" else None
        call = Call(ident, kind, key, node, self._lives(node), self.number, time.monotonic(), value, expected)
        self.calls.append(call)
        self.ask(call, node)
        if call.outcome == UNKNOWN and call.kind != "read" and draw.random() < 0.5 and not self._enough.is_set():
            call.attempts += 1
            call.doubtful = True
            self._enough.wait(draw.random())
            self.ask(call, draw.choice(list(self._sockets)))

    def ask(self, call: Call, node: int) -> None:
        """Do it at this node, and write down how it ended."""
        call.asked = time.monotonic()
        before = call.outcome
        try:
            self._do(call, self._at(node))
            call.outcome = ACKED
            self._seen[call.key] = call.revision
        except OutcomeUnknown:
            call.outcome = UNKNOWN
        except NOTHING_HAPPENED:
            # Of a repeated request that says: not this time. The first one may still have happened.
            call.outcome = before or (UNKNOWN if call.is_read else REFUSED)
        except Conflict as error:
            call.outcome, call.code = FAILED, "CONFLICT"
            call.revision = error.current_revision or 0
            self._seen[call.key] = call.revision
        except NotFound:
            call.outcome, call.revision = (ACKED, 0) if call.is_read else (FAILED, 0)
            if call.is_read:
                call.value = None
            self._seen[call.key] = 0
        except ClientError as error:
            call.outcome = UNKNOWN
            self.odd.append(f"{call} at node {node}: {error.code}: {error.message}")
        call.ended = time.monotonic()

    def _do(self, call: Call, client: Client) -> None:
        ident = call.id.hex()
        if call.kind == "read":
            found = client.cat(call.key, linearizable=True, timeout=PATIENCE)
            call.value, call.revision = bytes(found["data"]), found["revision"]
        elif call.kind == "put":
            assert call.value is not None
            call.revision = client.put(call.key, call.value, timeout=PATIENCE, operation_id=ident)["revision"]
        elif call.kind == "cas":
            assert call.value is not None and call.expected is not None
            written = client.cas(call.key, call.value, call.expected, timeout=PATIENCE, operation_id=ident)
            call.revision = written["revision"]
        else:
            call.revision = client.remove(call.key, timeout=PATIENCE, operation_id=ident)["revision"]


def count(calls: list[Call]) -> Counter[str]:
    """How the calls ended; reads whose answer was lost or refused count as neither."""
    return Counter(call.outcome for call in calls if not call.is_read or call.outcome == ACKED)
