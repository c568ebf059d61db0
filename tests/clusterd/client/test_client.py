"""The clients: typed errors, provable refusals, streams that go on, and no daemon code inside."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from cfs.errors import Expired, StagingGone
from clusterd.client import (
    AsyncClient,
    Client,
    ClientError,
    Conflict,
    Failed,
    LimitExceeded,
    NoDaemon,
    NoQuorum,
    NotFound,
    OutcomeUnknown,
    UsageError,
    session,
)
from clusterd.control import frames, sockets
from tests.clusterd.conftest import Served
from tests.clusterd.fake import UNKNOWN


def test_a_file_of_the_full_size_goes_both_ways(node: Served):
    """Large puts and cats are cut into frames and joined without the caller's help."""
    data = bytes(range(256)) * 4096
    with Client(node.path) as client:
        assert client.put("large", data)["size"] == 1 << 20
        assert client.cat("large")["data"] == data


def test_a_file_above_the_limit_is_refused_before_it_is_sent(node: Served):
    """Too large: exit 9, and the connection stays good."""
    with Client(node.path) as client:
        with pytest.raises(LimitExceeded):
            client.put("large", bytes((1 << 20) + 1))
        assert client.ping()


def test_errors_are_typed(node: Served):
    """One class per code of the command line contract."""
    with Client(node.path) as client:
        client.put("a", b"1")
        with pytest.raises(Conflict) as conflict:
            client.cas("a", b"2", 0)
        assert conflict.value.current_revision == 1
        with pytest.raises(NotFound):
            client.cat("nothing")
        with pytest.raises(UsageError):
            client.put("../escape", b"")
        with pytest.raises(UsageError):
            client.put("not\udcffutf8", b"")
        node.backend.quorate = False
        with pytest.raises(NoQuorum) as refused:
            client.put("a", b"3")
        assert (refused.value.exit_status, refused.value.node) == (4, 1)
        node.backend.quorate = True
        node.backend.fail = UNKNOWN
        with pytest.raises(OutcomeUnknown):
            client.put("a", b"4")


def test_the_same_operation_id_is_the_same_operation(node: Served):
    """An identical retry after an unknown outcome is done at most once (DESIGN S3)."""
    with Client(node.path) as client:
        first = client.put("a", b"1", operation_id="c" * 32)
        assert client.put("a", b"1", operation_id="c" * 32) == first
        assert client.outcome("c" * 32)["outcome"] == "done"
        assert client.ls()["revision"] == 1


def test_nobody_there_is_no_daemon(tmp_path: Path):
    """No file, and a file nobody listens on."""
    with pytest.raises(NoDaemon, match="no daemon answers"):
        Client(str(tmp_path / "nothing")).status()
    with socket.socket(socket.AF_UNIX) as one, sockets.fitting(str(tmp_path / "dead")) as path:
        one.bind(path)
    with pytest.raises(NoDaemon, match="no daemon answers"):
        Client(str(tmp_path / "dead")).put("a", b"")


def test_a_silent_daemon_is_no_daemon_and_a_write_to_it_provably_did_not_happen(tmp_path: Path):
    """A stopped process still has a socket. The request leaves only after its hello, so NoDaemon is true."""
    path = str(tmp_path / "stopped")
    with sockets.listen(path) as server:
        with pytest.raises(NoDaemon, match=r"no answer .* within 0\.05 s"):
            Client(path, timeout=0.05).put("a", b"x")
        server.setblocking(True)
        accepted, _ = server.accept()
        with accepted:
            reader = frames.Reader(1 << 20, 100)
            reader.feed(accepted.recv(1 << 16))
            assert reader.next_message() == {"hello": 1, "client": "client"}
            assert reader.next_message() is None


def test_something_else_on_the_socket_is_an_error_with_a_sentence(tmp_path: Path):
    """A web server, say."""
    path = str(tmp_path / "other")
    with sockets.listen(path) as server:
        server.setblocking(True)

        def answer() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        with pytest.raises(Failed, match="no clusterd"):
            Client(path).ping()


def test_a_daemon_that_restarts_is_found_again(serve: Callable[..., Served]):
    """A kept connection whose daemon is gone makes neither a read fail nor a write's outcome unknown."""
    first = serve()
    reader, writer = Client(first.path), Client(first.path)
    reader.ping()
    writer.ping()
    first.stop()
    serve()
    assert reader.ping()
    assert writer.put("a", b"")["revision"] == 1


def test_a_daemon_that_dies_during_a_write_leaves_its_outcome_unknown(serve: Callable[..., Served]):
    """Never Refused for what may have happened."""
    served = serve()
    served.backend.hang = True
    client = Client(served.path)
    client.ping()
    death = threading.Timer(0.1, served.cut)
    death.start()
    with pytest.raises(OutcomeUnknown, match="went away") as caught:
        client.put("a", b"", operation_id="d" * 32)
    death.join()
    assert caught.value.operation_id == "d" * 32


def test_an_id_says_where_the_log_was_when_it_was_made(node: Served):
    """Exactly once (S3): fixed when the write is sent first, so that every retry of it says the same."""
    with Client(node.path) as client:
        node.backend.fail = UNKNOWN
        with pytest.raises(OutcomeUnknown):
            client.put("a", b"")
        node.backend.log_index = 0x2000
        client.put("b", b"")
        first, second = node.backend.calls
        client.put("a", b"", operation_id=first)
    assert [ident.partition("-")[2] for ident in (first, second)] == ["1f3a", "1f3a"]
    assert node.backend.calls[2] == first
    with Client(node.path) as other:
        other.put("a", b"", operation_id=first)
    assert node.backend.calls[3] == first


def test_the_log_index_is_asked_for_again_when_it_is_old(node: Served, monkeypatch: pytest.MonkeyPatch):
    """A program that slept would else make ids that expire at once."""
    with Client(node.path) as client:
        client.put("a", b"")
        node.backend.log_index = 0x2000
        monkeypatch.setattr(session, "FRESH", -1.0)
        client.put("b", b"")
    assert [ident.partition("-")[2] for ident in node.backend.calls] == ["1f3a", "2000"]


def test_an_id_can_be_made_and_kept_before_the_write(node: Served):
    """Who crashes in between can come back and ask, or repeat."""
    with Client(node.path) as client:
        ident = client.new_operation_id()
        assert client.outcome(ident)["outcome"] == "unknown"
        client.put("a", b"", operation_id=ident)
        assert client.outcome(ident)["outcome"] == "done"


def test_a_daemon_that_does_not_tell_its_log_gets_ids_as_before():
    """An older daemon knows 32 hex digits only."""
    told = {"hello": 1, "version": "0", "node": {"id": 1, "name": "n1"}, "cluster": "c", "may": [], "max_file_bytes": 1}
    hello = session.Hello(told, 0.0)
    assert not hello.stale(1e9)
    assert len(hello.new_operation_id()) == 32


@pytest.mark.parametrize("failure", [StagingGone("gone"), Expired("late", "0" * 32, never=True)])
def test_an_id_of_our_own_that_is_used_up_is_replaced(node: Served, failure: Exception):
    """The chunks of a large file were dropped, or the log had jumped: not done, and under a new id it is."""
    with Client(node.path) as client:
        node.backend.fail = failure
        client.put("a", b"x")
        first, second = node.backend.calls
        assert first[:32] != second[:32]


def test_an_id_of_our_own_that_may_have_worked_is_not_replaced(node: Served):
    """Judged too late by the log: nothing says that it was not judged before as well."""
    with Client(node.path) as client:
        node.backend.fail = Expired("late", "0" * 32)
        with pytest.raises(OutcomeUnknown) as caught:
            client.put("a", b"x")
        assert caught.value.expired
        assert not caught.value.spent
        assert len(node.backend.calls) == 1


@pytest.mark.parametrize("failure", [StagingGone("gone"), Expired("late", "0" * 32, never=True)])
def test_an_id_of_the_caller_is_never_replaced(node: Served, failure: Exception):
    """It may have been sent before, or be written down somewhere: only its owner knows what to do."""
    with Client(node.path) as client:
        node.backend.fail = failure
        with pytest.raises((Failed, OutcomeUnknown)) as caught:
            client.put("a", b"x", operation_id="e" * 32)
        assert caught.value.spent
        assert node.backend.calls == ["e" * 32]


async def test_the_async_client_does_the_same_about_ids(node: Served, monkeypatch: pytest.MonkeyPatch):
    """Made of the log index, renewed when old, replaced when used up, and never if it is the caller's."""
    async with AsyncClient(node.path) as client:
        await client.put("a", b"")
        node.backend.fail = StagingGone("gone")
        await client.put("a", b"")
        monkeypatch.setattr(session, "FRESH", -1.0)
        node.backend.log_index = 0x2000
        await client.put("b", b"")
        node.backend.fail = StagingGone("gone")
        with pytest.raises(Failed):
            await client.put("a", b"", operation_id="e" * 32)
    assert [ident.partition("-")[2] for ident in node.backend.calls] == ["1f3a", "1f3a", "1f3a", "2000", ""]
    assert len(set(node.backend.calls)) == 5


@pytest.mark.parametrize("answer", [b"\0\0\0\1\xc1", frames.pack({"id": 1})])
def test_an_answer_that_is_none_leaves_a_write_unknown(tmp_path: Path, answer: bytes):
    """The request was sent: whatever comes back, nobody may say that it did not happen."""
    path = str(tmp_path / "odd")
    hello = {"hello": 1, "version": "", "node": {"id": 1, "name": ""}, "cluster": "", "may": ["write"]}
    with sockets.listen(path) as server:
        server.setblocking(True)

        def serve() -> None:
            accepted, _ = server.accept()
            with accepted:
                accepted.recv(1 << 16)
                accepted.sendall(frames.pack({**hello, "max_file_bytes": 9}))
                accepted.recv(1 << 16)
                accepted.sendall(answer)
                accepted.recv(1 << 16)

        threading.Thread(target=serve, daemon=True).start()
        with Client(path) as client, pytest.raises(OutcomeUnknown, match="no clusterd") as caught:
            client.put("a", b"", operation_id="f" * 32)
    assert caught.value.operation_id == "f" * 32


def test_a_watch_goes_on_after_a_restart_where_it_was(serve: Callable[..., Served]):
    """Reconnecting: subscriptions resume from the revision seen last."""
    first = serve()
    with Client(first.path) as client:
        client.put("a", b"")
    watch = Client(first.path).watch(revision=0)
    assert next(watch)["path"] == "a"
    first.stop()
    second = serve()
    second.backend.changes = first.backend.changes
    second.backend.revision = 1
    with Client(second.path) as client:
        client.put("b", b"")
    assert next(watch)["path"] == "b"


def test_a_listing_of_many_pages_is_one_listing(node: Served):
    """ls joins pages; the caller does not see them."""
    node.backend.revision = 1
    for number in range(2500):
        node.backend._enter(f"f{number:05d}", "file", b"")
    with Client(node.path) as client:
        listing = client.ls()
    assert [entry["path"] for entry in listing["entries"]] == [f"f{number:05d}" for number in range(2500)]
    assert listing["more"] is False


async def test_the_async_client_makes_calls_at_once_and_streams(node: Served):
    """Many calls on one connection, each stream on its own."""
    import asyncio

    async with AsyncClient(node.path) as client:
        answers = await asyncio.gather(*(client.put(f"f{n}", b"x") for n in range(20)), client.quorum())
        assert sorted(answer["revision"] for answer in answers[:20]) == list(range(1, 21))
        verdicts = client.watch_quorum()
        assert (await anext(verdicts))["quorate"] is True
        node.do(lambda: node.backend.set_quorate(False))
        assert (await anext(verdicts))["quorate"] is False
        await verdicts.aclose()
        with pytest.raises(NoQuorum):
            await client.put("x", b"")
        changes = client.watch(revision=18)
        assert [(await anext(changes))["revision"] for _ in range(2)] == [19, 20]
        await changes.aclose()
        assert len((await client.ls())["entries"]) == 20


async def test_the_async_client_finds_a_restarted_daemon(serve: Callable[..., Served]):
    """As the sync one: reads are asked again, writes in flight are unknown."""
    first = serve()
    async with AsyncClient(first.path) as client:
        await client.ping()
        first.stop()
        with pytest.raises(ClientError):
            await client.ping()
        second = serve()
        assert await client.ping()
        second.stop()
        serve()
        assert (await client.put("a", b""))["revision"] == 1


def loaded(code: str) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"], capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_the_client_imports_no_daemon_code_and_only_msgpack():
    """Small, for other tools to build on."""
    modules = loaded("import clusterd.client")
    ours = {name for name in modules if name.split(".")[0] in ("clusterd", "transport", "cfs", "quorum")}
    assert ours <= {
        "clusterd",
        "clusterd.client",
        "clusterd.client.errors",
        "clusterd.client.session",
        "clusterd.client.sync",
        "clusterd.control",
        "clusterd.control.codes",
        "clusterd.control.frames",
        "clusterd.control.sockets",
        "transport",
        "transport.errors",
    }
    heavy = {"pydantic", "rich", "typer", "asyncio", "uvloop", "cryptography", "dataclasses", "pathlib", "structlog"}
    assert not modules & heavy
