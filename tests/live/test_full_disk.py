"""Full and read-only disks under running daemons: writes go elsewhere or are refused, the ring goes on (S1, S3)."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from clusterd.client import Failed, LimitExceeded
from tests.live.cluster import Cluster, eventually

pytestmark = pytest.mark.live
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
Lab = Callable[..., Cluster]
SIZE = "3m"


@contextmanager
def small_disks(cluster: Cluster, *nodes: int) -> Iterator[None]:
    """Their state directories become file systems of 3 MiB; the cluster is whole before and after."""
    mounted: list[Path] = []
    try:
        cluster.stop(*nodes)
        for node in nodes:
            place, kept = cluster.state_dir(node), cluster.state_dir(node).with_name("kept")
            place.rename(kept)
            place.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", place], check=True)
            mounted.append(place)
            shutil.copytree(kept, place, dirs_exist_ok=True)
        cluster.start(*nodes)
        cluster.whole()
        yield
    finally:
        with suppress(Exception):
            cluster.kill(*nodes)
        for place in mounted:
            subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> Path:
    """Leave no room at all."""
    ballast = place / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        for size in (1 << 16, 1 << 12):
            with suppress(OSError):
                while True:
                    file.write(b"\0" * size)
    return ballast


def test_a_disk_that_fails_under_the_daemon(three: Cluster) -> None:
    """No write of any kind succeeds any more, the log's neither: the others go on, and it recovers by itself."""
    cluster = three
    ring, pid = cluster.ring(), cluster.pid(2)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    with cluster.client(1) as client:
        client.put("a", b"x")
        eventually("node 2 says so", lambda: cluster.status(2)["store"]["state"] == "disk_error")
        assert client.put("a", b"y")["durable_on"] == [1, 3]
    with cluster.client(2) as client, pytest.raises(LimitExceeded):
        client.put("b", b"x")
    assert cluster.status(2)["quorum"]["quorate"]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    cluster.whole()
    cluster.equal()
    assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
    assert cluster.pid(2) == pid
    with cluster.client(2) as client:
        assert client.cat("a")["data"] == b"y"


@needs_root
def test_full_disks(three: Cluster) -> None:
    """One full disk: writes go on through the others. A majority full: refused with LIMIT, saying which, while ring,
    quorum and reads go on. All by itself again when there is room."""
    cluster = three
    with small_disks(cluster, 2, 3):
        ring = cluster.ring()
        first = fill(cluster.state_dir(3))
        with cluster.client(1) as client, cluster.client(3) as on_full:

            def noticed() -> bool:
                client.put("a", b"x" * 1000)
                return bool(cluster.status(3)["store"]["state"] == "disk_error")

            eventually("node 3 says so", noticed)
            assert client.put("a", b"again")["durable_on"] == [1, 2]
            with pytest.raises(LimitExceeded):
                on_full.put("b", b"through the full one")
            assert cluster.status(3)["quorum"]["quorate"]

            second = fill(cluster.state_dir(2))

            def refused() -> LimitExceeded | None:
                try:
                    client.put("c", b"x" * 1000, timeout=8.0)
                except LimitExceeded as error:
                    return error
                return None

            error = eventually("refused", refused)
            print("refused with:", error.message)
            assert "disk" in error.message
            assert client.cat("a")["data"] == b"again"
            code, answer, _ = cluster.ctl(1, "fs", "put", "d", stdin=b"x")
            assert (code, answer["error"]["code"]) == (9, "LIMIT")
            assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
            assert all(cluster.status(node)["quorum"]["quorate"] for node in (1, 2, 3))

            first.unlink()
            second.unlink()
            cluster.writable(1, 2, 3)
            client.put("after", b"x")
        cluster.equal()
        assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
        for node in (2, 3):
            assert "the disk does not take writes" in cluster.log(node)
            assert "the disk works again" in cluster.log(node)
            assert cluster.log(node).count("No space left") < 30


@needs_root
def test_a_state_directory_that_is_read_only_at_start(lab: Lab) -> None:
    """Nothing can be promised there: one line, exit 1; nothing is left behind that stops the next start."""
    cluster = lab(1)
    place = str(cluster.state_dir(1))
    cluster.stop(1)
    subprocess.run(["mount", "--bind", place, place], check=True)
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        known = len(cluster.log(1))
        with pytest.raises(Failed):
            cluster.start(1)
        assert cluster.exit_status(1) == 1
        (line,) = [text for text in cluster.log(1)[known:].splitlines() if " error " in text]
        assert "Read-only file system" in line and place in line
        assert "Traceback" not in cluster.log(1)
    finally:
        subprocess.run(["umount", "-l", place], check=True)
    cluster.start(1)
    cluster.whole()
