"""Unix sockets at any depth: a path longer than the kernel's 107 bytes is bound and reached all the same."""

from __future__ import annotations

import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterd.client import Client
from clusterd.control import sockets
from tests.clusterd.conftest import Served
from transport.errors import Refused


def deep(tmp_path: Path) -> Path:
    """A directory whose path is far above what the kernel takes for a socket."""
    place = tmp_path.joinpath(*(["a-directory-with-a-rather-long-name"] * 8))
    place.mkdir(parents=True)
    return place


def test_a_socket_in_a_deep_directory_is_bound_and_reached(tmp_path: Path):
    """Both bind and connect go through the directory's descriptor."""
    path = str(deep(tmp_path) / "clusterd.sock")
    assert len(path) > 3 * sockets.MAX_PATH
    with sockets.listen(path) as server, sockets.connect(path, 1.0) as client:
        accepted, _ = server.accept()
        accepted.close()
        assert client.getpeername()


def test_a_daemon_in_a_deep_directory_answers(tmp_path: Path, serve: Callable[..., Served]):
    """The same through the real server and client."""
    place = deep(tmp_path)
    served = serve(str(place.relative_to(tmp_path) / "clusterd.sock"))
    with Client(served.path) as client:
        assert client.ping()["contract"] == 1


def test_the_socket_is_open_to_everybody_from_its_first_moment(tmp_path: Path):
    """Mode 0666; who somebody is says the kernel, not the file."""
    path = tmp_path / "clusterd.sock"
    with sockets.listen(str(path)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        assert [entry.name for entry in tmp_path.iterdir()] == ["clusterd.sock"]


def test_a_stale_socket_file_is_replaced(tmp_path: Path):
    """A daemon killed with SIGKILL leaves its socket file; the next start goes on."""
    path = str(tmp_path / "clusterd.sock")
    sockets.listen(path).close()
    with sockets.listen(path), sockets.connect(path, 1.0):
        pass


def test_a_socket_somebody_answers_on_is_left_alone(tmp_path: Path):
    """Two daemons never share a socket."""
    path = str(tmp_path / "clusterd.sock")
    with sockets.listen(path), pytest.raises(Refused, match="another process answers"):
        sockets.listen(path)


def test_a_file_that_is_no_socket_is_left_alone(tmp_path: Path):
    """A mistyped path does not cost anybody a file."""
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(Refused, match="no socket"):
        sockets.listen(str(path))
    assert path.read_text() == "data"


def test_connecting_to_nobody_says_why(tmp_path: Path):
    """The client turns these into NoDaemon."""
    with pytest.raises(FileNotFoundError):
        sockets.connect(str(tmp_path / "nothing"), 1.0)
    with socket.socket(socket.AF_UNIX) as one, sockets.fitting(str(tmp_path / "dead")) as path:
        one.bind(path)
    with pytest.raises(ConnectionRefusedError):
        sockets.connect(str(tmp_path / "dead"), 1.0)
