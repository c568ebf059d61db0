"""The local socket's server: hello, bounds, streams, and what hostile bytes do to it (nothing)."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusterd.client import Client, LimitExceeded, Missed, NoDaemon, OutcomeUnknown
from clusterd.control import frames, sockets
from clusterd.control.server import Limits
from tests.clusterd.conftest import Served


class Raw:
    """A connection that says exactly what a test wants."""

    def __init__(self, served: Served, hello: bool = True) -> None:
        self.sock = sockets.connect(served.path, 5.0)
        self._reader = frames.Reader(64 << 20, 1 << 20)
        if hello:
            self.send({"hello": 1, "client": "test"})
            self.hello = self.receive()

    def send(self, *messages: dict[str, Any]) -> None:
        self.sock.sendall(b"".join(frames.pack(message) for message in messages))

    def receive(self) -> Any:
        while (message := self._reader.next_message()) is None:
            data = self.sock.recv(1 << 16)
            if not data:
                raise EOFError
            self._reader.feed(data)
        return message

    def closed(self) -> bool:
        """Whether the server hung up, whatever it said before."""
        try:
            while self.sock.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        return True


def request(ident: int, name: str, **arguments: Any) -> dict[str, Any]:
    return {"id": ident, "op": name, "args": arguments}


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_hello_tells_who_answers_and_what_we_may(node: Served):
    """Versioned hello both ways: protocol, server version, node id and name, permissions."""
    assert Raw(node).hello == {
        "hello": 1,
        "version": "0.1.0",
        "node": {"id": 1, "name": "n1"},
        "cluster": "lab",
        "may": ["read", "write", "lab"],
        "max_file_bytes": 1 << 20,
        "log_index": 0x1F3A,
    }


def test_another_protocol_is_told_and_closed(node: Served):
    """A client of another version reads one sentence, not a broken stream."""
    raw = Raw(node, hello=False)
    raw.send({"hello": 2, "client": "from the future"})
    assert raw.receive()["error"]["message"] == "this daemon speaks protocol 1, the client 2"
    assert raw.closed()


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00",
        b"GET / HTTP/1.1\r\n\r\n",
        struct.pack("!I", 0xFFFFFFFF),
        frames.pack({"id": 1, "op": "status", "args": {}}),  # before the hello
        frames.pack({"hello": "one"}),
        frames.pack({"hello": 1}) * 2,
        frames.pack({"hello": 1}) + frames.pack({"id": -1, "op": "status", "args": {}}),
        frames.pack({"hello": 1}) + frames.pack({"id": 1, "op": 7, "args": {}}),
        frames.pack({"hello": 1}) + frames.pack({"id": 1, "op": "status", "args": []}),
        frames.pack({"hello": 1}) + frames.pack({"surprise": True}),
    ],
)
def test_garbage_ends_the_connection_and_is_counted(node: Served, garbage: bytes):
    """Any bytes on the local socket: counted, dropped, never a crash; others are served as before."""
    raw = Raw(node, hello=False)
    raw.sock.sendall(garbage)
    raw.sock.shutdown(socket.SHUT_WR)
    assert raw.closed()
    expected = 0 if garbage == b"\x00" else 1  # one byte is no garbage yet, only unfinished
    until(lambda: node.server.stats.garbage == expected)
    with Client(node.path) as client:
        assert client.ping()["version"] == "0.1.0"


def test_the_status_shows_what_came_over_the_local_socket(node: Served):
    """Garbage is counted where somebody can see it."""
    raw = Raw(node, hello=False)
    raw.sock.sendall(struct.pack("!I", 0xFFFFFFFF))
    assert raw.closed()
    with Client(node.path) as client:
        counts = client.status()["socket"]
    assert counts == {"accepted": 2, "turned_away": 0, "garbage": 1, "slow": 0, "bugs": 0}


def test_an_id_that_is_in_use_is_garbage(node: Served):
    """Two answers under one id could not be told apart."""
    node.backend.hang = True
    raw = Raw(node)
    raw.send(request(1, "reload"), request(1, "reload"))
    assert raw.closed()


def test_many_requests_in_one_write_are_all_answered_in_order(node: Served):
    """Batches: several frames per read, more than are handled in one turn."""
    raw = Raw(node)
    raw.send(*(request(ident, "ping") for ident in range(500)))
    assert [raw.receive()["id"] for _ in range(500)] == list(range(500))


def test_an_unknown_operation_is_an_answer_not_an_end(node: Served):
    """A newer client asks an older daemon."""
    raw = Raw(node)
    raw.send(request(1, "teleport"), request(2, "ping"))
    assert raw.receive()["error"]["code"] == "USAGE"
    assert raw.receive()["ok"]["contract"] == 1


def test_a_bug_in_an_operation_is_answered_and_counted(node: Served):
    """The daemon goes on, and its log has the traceback."""
    node.backend.fail = ZeroDivisionError("ours")
    raw = Raw(node)
    raw.send(request(1, "fs_cat", path="a", linearizable=True), request(2, "ping"))
    answers = {message["id"]: message for message in (raw.receive(), raw.receive())}
    assert answers[1]["error"]["code"] == "FAILED"
    assert "ours" not in answers[1]["error"]["message"]
    assert node.server.stats.bugs == 1


def test_a_bug_in_a_change_leaves_its_outcome_unknown(node: Served):
    """S3: FAILED would say that nothing happened; nobody knows how far it had come."""
    node.backend.fail = ZeroDivisionError("ours")
    raw = Raw(node)
    raw.send(request(1, "fs_put", path="a", data=b"", operation_id="ab" * 16))
    error = raw.receive()["error"]
    assert (error["code"], error["operation_id"]) == ("OUTCOME_UNKNOWN", "ab" * 16)


def test_whoever_waits_when_the_daemon_ends_is_answered_first(node: Served):
    """SIGTERM: a clear answer, then the end of the connection; never only the end."""
    node.backend.hang = True
    raw = Raw(node)
    raw.send(
        request(1, "fs_put", path="a", data=b"", operation_id="ab" * 16 + "-7"),
        request(2, "fs_cat", path="a", linearizable=True),
        request(3, "reload"),
    )
    until(lambda: len(node.backend.calls) == 3)
    node.stop()
    answers = {message["id"]: message["error"] for message in (raw.receive(), raw.receive(), raw.receive())}
    assert [answers[ident]["code"] for ident in (1, 2, 3)] == ["OUTCOME_UNKNOWN", "NO_DAEMON", "OUTCOME_UNKNOWN"]
    assert answers[1]["operation_id"] == "ab" * 16 + "-7"
    assert all("this node is leaving the cluster" in answers[ident]["message"] for ident in (1, 2, 3))
    assert raw.sock.recv(1) == b""


def test_cuts_are_for_daemons_of_a_lab_only(serve: Callable[..., Served]):
    """Only a daemon started with --lab accepts the request."""
    served = serve(lab=False)
    raw = Raw(served)
    assert raw.hello["may"] == ["read", "write"]
    raw.send(request(1, "lab_cuts", cuts=[{"from": 1, "to": 2, "link": 0}]))
    assert raw.receive()["error"]["code"] == "DENIED"
    assert served.backend.cuts == []


def test_cuts_reach_the_backend(node: Served):
    """One row per direction and link; the whole list every time."""
    with Client(node.path) as client:
        client.set_cuts([{"from": 1, "to": 2, "link": 0}])
    assert node.backend.cuts == [{"from": 1, "to": 2, "link": 0}]


def test_a_change_that_outlasts_its_timeout_is_of_unknown_outcome(node: Served):
    """CLI contract: all writes have a timeout, then exit 5; never a hang."""
    node.backend.hang = True
    with Client(node.path) as client, pytest.raises(OutcomeUnknown, match=r"after 0\.05 s") as caught:
        client.put("a", b"x", timeout=0.05, operation_id="ab" * 16)
    assert caught.value.operation_id == "ab" * 16


def test_a_cancelled_request_is_answered_no_more(node: Served):
    """The client has lost interest; its place among the requests in flight is free again."""
    node.backend.hang = True
    raw = Raw(node)
    raw.send(request(1, "reload"), {"cancel": 1}, request(2, "ping"))
    assert raw.receive()["id"] == 2


def test_a_client_that_goes_away_takes_its_requests_along(node: Served):
    """No work is kept for nobody."""
    node.backend.hang = True
    raw = Raw(node)
    raw.send(request(1, "reload"))
    until(lambda: node.backend.calls != [])
    raw.sock.close()
    until(lambda: node.do(lambda: len(node.server._connections)) == 0)


def test_requests_beyond_the_bound_wait_their_turn(serve: Callable[..., Served]):
    """in_flight requests are worked on, the rest stays in the socket."""
    served = serve(limits=Limits(in_flight=4))
    served.backend.hang = True
    raw = Raw(served)
    raw.send(*(request(ident, "reload", timeout=0.2) for ident in range(10)))
    until(lambda: len(served.backend.calls) == 4)
    codes = [raw.receive()["error"]["code"] for _ in range(10)]
    assert codes == ["OUTCOME_UNKNOWN"] * 10


def test_the_quorum_stream_begins_with_the_present(node: Served):
    """One line now, one per change."""
    with_stream = Client(node.path).watch_quorum()
    assert next(with_stream)["quorate"] is True
    node.do(lambda: node.backend.set_quorate(False))
    assert next(with_stream)["quorate"] is False


def test_a_slow_subscriber_is_told_and_dropped(serve: Callable[..., Served]):
    """Bounded queues; the others are served on."""
    served = serve(limits=Limits(queue=8, high_water=4096))
    raw = Raw(served)
    raw.send(request(1, "events"))
    assert raw.receive() == {"id": 1, "ok": {"sub": 1}}
    quick = Client(served.path).events()
    seen: list[str] = []

    def listen() -> None:
        with contextlib.suppress(NoDaemon):
            seen.extend(event["message"][:9] for event in quick)

    threading.Thread(target=listen, daemon=True).start()
    until(lambda: len(served.backend.event_watchers) == 2)
    total = 600
    for number in range(total):
        served.do(lambda number=number: served.backend.happen(f"event {number:03d}" + "x" * 2000))
        until(lambda number=number: len(seen) > number)
    received = 0
    while not (event := raw.receive()["event"]).get("slow"):
        received += 1
    assert event["dropped"] == total - received > 0
    assert raw.receive() == {"sub": 1, "end": None}
    assert served.do(lambda: len(served.backend.event_watchers)) == 1
    assert served.server.stats.slow == 1


def test_a_watch_from_a_revision_gives_history_then_news(node: Served):
    """fs watch --from R: no gap and no repeat between the two."""
    with Client(node.path) as client:
        for name in "abc":
            client.put(name, b"")
        watch = client.watch(revision=1)
        assert [next(watch)["path"] for _ in range(2)] == ["b", "c"]
        client.put("d", b"")
        assert next(watch) == {"revision": 4, "op": "put", "path": "d", "to": None, "writer": 1}


def test_a_watch_of_history_that_is_gone_fails(node: Served):
    """CLI contract: history gone: 1."""
    node.backend.revision = node.backend.compacted = 5
    with pytest.raises(Exception, match="no longer kept") as caught:
        next(Client(node.path).watch(revision=2))
    assert caught.value.exit_status == 1  # type: ignore[attr-defined]


def test_a_watch_overtaken_by_compaction_is_told(serve: Callable[..., Served]):
    """A watcher that fell behind what the store keeps is told how much it missed."""
    served = serve()
    watch = Client(served.path).watch(revision=0)
    with Client(served.path) as client:
        client.put("a", b"")
        assert next(watch)["revision"] == 1
        served.backend.revision = served.backend.compacted = 9
        client.put("b", b"")
    with pytest.raises(Missed):
        next(watch)


def test_a_watch_of_a_tree_that_was_replaced_is_told(serve: Callable[..., Served]):
    """S5: after a merge the same revision may be another tree; who watched must read all anew, not miss it silently."""
    served = serve()
    with Client(served.path) as client:
        client.put("a", b"")
        watch = Client(served.path).watch(revision=0)
        assert next(watch)["revision"] == 1
        served.backend.tree_number += 1  # another history's tree, at revision 1 too
        client.put("b", b"")
    with pytest.raises(Missed):
        next(watch)


def test_a_watch_waits_for_a_store_that_may_not_be_shown_yet(serve: Callable[..., Served]):
    """ "No gap, no repeat", also over a restart: what the watcher saw last may be ahead of what is shown at first."""
    served = serve()
    with Client(served.path) as client:
        client.put("a", b"")
        client.put("b", b"")
        served.backend.store_readable = False
        served.backend.revision, hidden = 0, served.backend.revision  # as after a crash, before the others' word
        raw = Raw(served)
        raw.send(request(1, "fs_watch", path="", revision=1))
        assert raw.receive() == {"id": 1, "ok": {"sub": 1, "revision": 1}}
        served.backend.store_readable, served.backend.revision = True, hidden
        client.put("c", b"")
    assert [raw.receive()["event"]["path"] for _ in range(2)] == ["b", "c"]


def test_a_watch_of_a_directory_sees_what_concerns_it(node: Served):
    """Below the path, the path itself, and a directory above it that goes away."""
    with Client(node.path) as client:
        client.mkdir("a/b", parents=True)
        start = client.ls()["revision"]
        client.put("a/b/c", b"")
        client.put("a/bb", b"")
        client.put("d", b"")
        client.move("d", "a/b/d")
        client.remove("a", recursive=True)
        watch = client.watch("a/b", start)
        assert [(change["op"], change["path"]) for change in (next(watch) for _ in range(3))] == [
            ("put", "a/b/c"),
            ("mv", "d"),
            ("rm", "a"),
        ]


def test_a_client_that_reads_nothing_is_closed(serve: Callable[..., Served]):
    """Answers nobody takes do not stay for ever."""
    served = serve(limits=Limits(high_water=1024, stall_timeout=0.1))
    raw = Raw(served)
    with Client(served.path) as client:
        client.put("large", bytes(1 << 20))
    raw.send(request(1, "fs_cat", path="large"))
    until(lambda: served.server.stats.slow == 1)


def test_a_client_that_says_nothing_is_closed(serve: Callable[..., Served]):
    """A place is not held without a hello."""
    served = serve(limits=Limits(hello_timeout=0.05))
    assert Raw(served, hello=False).closed()


def test_clients_beyond_the_limit_are_turned_away_with_a_reason(serve: Callable[..., Served]):
    """Bounded memory, whoever connects."""
    served = serve(limits=Limits(clients=2, reserved=1))
    first, second = Raw(served), Raw(served)
    for _ in range(10):
        with pytest.raises(LimitExceeded, match="2 clients are connected"):
            Client(served.path).ping()
    first.sock.close()
    second.sock.close()
    until(lambda: served.do(lambda: len(served.server._connections)) == 0)
    assert Client(served.path).ping()


def test_close_ends_clients_and_removes_the_file(serve: Callable[..., Served]):
    """A clean leave leaves no socket behind."""
    served = serve()
    watch = Client(served.path).watch_quorum()
    next(watch)
    served.stop()
    with pytest.raises(NoDaemon):
        next(watch)
    assert not Path(served.path).exists()


def test_a_file_that_is_no_longer_ours_stays(serve: Callable[..., Served]):
    """A successor may have taken the path already."""
    served = serve()
    Path(served.path).unlink()
    with sockets.listen(served.path):
        served.stop()
        assert Path(served.path).exists()
