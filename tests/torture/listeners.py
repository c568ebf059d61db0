"""Who looks on while the clients write: one thread for each node asks for verdict and state, others watch the tree.

What they were told is kept until it is taken, once a round: told verdicts, samples of the stores, changes of the tree.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from random import Random

from cfs.messages import Change
from clusterd.client import Client, ClientError
from clusterd.client.errors import Missed
from quorum.events import Verdict
from tests.sim.history import StoreSample, Told, Watched
from tests.torture.moments import clock
from tests.torture.verdicts import Board, Promise
from transport.ids import NO_RING, RingId

EVERY = 0.05  # seconds between two questions for the verdict
SAMPLE = 5  # so many of them for one look at the store
AGAIN = 0.1  # seconds until a watcher tries another node


def ring_of(text: str | None) -> RingId:
    """REP.SEQHEX as a ring id; its incarnation is not told."""
    if not text:
        return NO_RING
    rep, _, seq = text.partition(".")
    return RingId(int(seq, 16), int(rep), 0)


class Listener(threading.Thread):
    """Asks one node, one question after the other. A sample bears the time of its question."""

    def __init__(self, node: int, path: str, board: Board, lives: Callable[[], int]) -> None:
        super().__init__(name=f"verdicts of {node}", daemon=True)
        self._node, self._path, self._board, self._lives = node, path, board, lives
        self._lock = threading.Lock()
        self._told: dict[tuple[RingId, tuple[int, ...], bool], Told] = {}
        self._samples: list[StoreSample] = []
        self._spans: dict[RingId, tuple[float, float]] = {}
        self.enough = threading.Event()
        self.problem: BaseException | None = None
        self.answers = 0

    def take(self) -> tuple[list[Told], list[StoreSample], dict[RingId, tuple[float, float]]]:
        """What came since this was last called: each verdict once, samples in order, and for each ring two moments
        between which the node was in it for certain, because it never goes back to an older one."""
        with self._lock:
            told, self._told = list(self._told.values()), {}
            samples, self._samples = self._samples, []
            spans, self._spans = self._spans, {}
        return told, samples, spans

    def run(self) -> None:
        client: Client | None = None
        asked = 0
        try:
            while not self.enough.wait(EVERY):
                try:
                    client = client or Client(self._path, timeout=2.0, name="verdicts")
                    self._ask_verdict(client)
                    asked += 1
                    if asked % SAMPLE == 0:
                        self._ask_state(client)
                except ClientError:
                    if client is not None:
                        client.close()
                    client = None
        except BaseException as error:
            self.problem = error
        finally:
            if client is not None:
                client.close()

    def _ask_verdict(self, client: Client) -> None:
        life = self._board.life(self._node)
        asked = clock()
        answer = client.quorum()
        had = clock()
        until = asked + float(answer["lease_s"])
        ring, members, quorate = answer["ring_id"], tuple(answer["members"]), answer["quorate"]
        if quorate and until > had:
            self._board.add(life, Promise(self._node, members, str(ring), had, until))
        votes = answer["votes"]
        verdict = Verdict(
            quorate,
            ring_of(ring),
            members,
            votes["expected"],
            votes["highest"],
            votes["total"],
            votes["quorum"],
            tuple(answer["flags"]),
            answer["reason"],
        )
        with self._lock:
            self.answers += 1
            self._told.setdefault((verdict.ring_id, members, quorate), Told(had, verdict))
            since, _ = self._spans.get(verdict.ring_id, (had, asked))
            self._spans[verdict.ring_id] = since, asked

    def _ask_state(self, client: Client) -> None:
        """Only what may be read counts: after a restart the newest records wait until it is known whether they do."""
        life, asked = self._lives(), clock()
        connected = client.connect()
        client.ls()  # refused while it may not be read
        store = client.status()["store"]
        if client.connect() is not connected:
            return  # another life of the daemon answered
        sample = StoreSample(asked, self._node, life, store["revision"], bytes.fromhex(store["digest"]))
        with self._lock:
            self._samples.append(sample)


class Watcher(threading.Thread):
    """Watches the whole tree at one node after the other: when one ends, it goes on elsewhere after the last change."""

    def __init__(self, number: int, seed: int, sockets: dict[int, str]) -> None:
        super().__init__(name=f"watcher {number}", daemon=True)
        self._draw = Random(seed)
        self._sockets = sockets
        self._lock = threading.Lock()
        self._stream: list[Watched] = []
        self._known: int | None = None  # None: to begin with whatever a node has
        self.enough = threading.Event()
        self.problem: BaseException | None = None
        self.begun = 0  # how often it had to begin anew

    @property
    def known(self) -> int:
        with self._lock:
            return -1 if self._known is None else self._known

    def take(self) -> list[Watched]:
        """What it was told since this was last called; begins with the revision that it knew then."""
        with self._lock:
            taken, self._stream = self._stream, []
            if taken:
                last = taken[-1]
                self._stream.append(last._replace(change=None))
            return taken

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                node = self._draw.choice(list(self._sockets))
                try:
                    self._watch(node)
                except Missed:
                    self._known = None  # the node's history does not reach back so far
                except ClientError as error:
                    if error.code == "FAILED":  # the same, told when the watch began
                        self._known = None
                self.enough.wait(AGAIN)
        except BaseException as error:
            self.problem = error

    def _watch(self, node: int) -> None:
        client = Client(self._sockets[node], timeout=2.0, name=self.name)
        try:
            if self._known is None:
                self._told(Watched(clock(), node, client.ls()["revision"], None, NO_RING))
                self.begun += 1
            for change in client.watch("", self._known, reconnect=False):
                made = Change(
                    change["revision"], change["op"], change["path"], change["to"], change["writer"] or 0, time=0
                )
                self._told(Watched(clock(), node, made.revision, made, NO_RING))
                if self.enough.is_set():
                    return
        finally:
            client.close()

    def _told(self, event: Watched) -> None:
        with self._lock:
            self._stream.append(event)
            self._known = event.revision
