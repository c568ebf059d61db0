"""Who may do what: DESIGN X3, "local sockets authorise by peer credentials"."""

from __future__ import annotations

import grp
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clusterd.control.credentials import Authority, Peer, peer_of
from tests.clusterd.conftest import Served

ROOT = Path(__file__).parents[3]
NOBODY = 65534
GROUP = 12345


def test_the_kernel_says_who_is_there():
    """SO_PEERCRED and SO_PEERGROUPS of a connected pair are our own."""
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = peer_of(one)
    assert (peer.pid, peer.uid, peer.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert peer.groups == frozenset(os.getgroups())


@pytest.mark.parametrize(
    "peer, may",
    [
        (Peer(1, 0, 0), True),
        (Peer(1, 500, 500), True),  # the daemon's own uid
        (Peer(1, 1000, 1000), False),
        (Peer(1, 1000, GROUP), True),
        (Peer(1, 1000, 1000, frozenset({7, GROUP})), True),
        (Peer(1, 1000, 1000, frozenset({7})), False),
    ],
)
def test_root_the_daemons_uid_and_the_group_may_change_things(peer: Peer, may: bool):
    """X3, first half."""
    assert Authority(uid=500, group=GROUP).may_change(peer) is may


@pytest.mark.parametrize(
    "path, hidden",
    [
        ("priv", True),
        ("priv/authkey.pub", True),
        ("nodes/n1/priv", True),
        ("nodes/n1/priv/key", True),
        ("nodes/n1/private", False),
        ("nodes/priv", False),
        ("private", False),
        ("a/priv", False),
        ("", False),
    ],
)
def test_private_paths(path: str, hidden: bool):
    """`priv/`: root or daemon uid only; the group may write elsewhere, not here."""
    authority = Authority(uid=500, group=GROUP)
    assert authority.may_touch(Peer(1, 1000, GROUP), path) is not hidden
    assert authority.may_touch(Peer(1, 500, 500), path)


@pytest.mark.parametrize(
    "peer, path, may",
    [
        (Peer(1, 0, 0), "priv/a", True),
        (Peer(1, 1000, GROUP), "a", True),
        (Peer(1, 1000, GROUP), "priv/a", False),
        (Peer(1, 1000, 1000), "a", False),
    ],
)
def test_what_is_in_files_is_for_those_who_may_change_them(peer: Peer, path: str, may: bool):
    """Files are 0640 and of the group, as in pmxcfs: others learn their names at most."""
    assert Authority(uid=500, group=GROUP).may_read(peer, path) is may


AS_ANOTHER_USER = """
import json, os, sys
sys.path.insert(0, sys.argv[2])
from clusterd.client import Client, ClientError  # loaded while we may read the source
os.setgroups(json.loads(sys.argv[4]))
os.setgid(int(sys.argv[3])); os.setuid(int(sys.argv[3]))
client = Client(sys.argv[1])
def attempt(work):
    try:
        work()
        return "done"
    except ClientError as error:
        return error.code
print(json.dumps({
    "may": client.connect().may,
    "quorum": attempt(client.quorum),
    "read": attempt(lambda: client.cat("open")),
    "private": attempt(lambda: client.cat("priv/secret")),
    "write": attempt(lambda: client.put("mine", b"x")),
    "private_write": attempt(lambda: client.put("priv/mine", b"x")),
    "listing": [entry["path"] for entry in client.ls(recursive=True)["entries"]],
    "cuts": attempt(lambda: client.set_cuts([])),
    "private_below": [
        attempt(lambda: client.remove(path, recursive=True)) for path in ("nodes/n1", "nodes", "nodes/n1/qemu")
    ],
    "raw_write": attempt(lambda: client._look("fs_rm", {"path": "open", "operation_id": "0" * 32})),
}))
"""


def as_user(served: Served, uid: int, groups: list[int]) -> Any:
    served.do(lambda: fill(served))
    Path(served.path).parent.chmod(0o755)
    for parent in list(Path(served.path).parents)[1:-2]:
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    command = [sys.executable, "-c", AS_ANOTHER_USER, served.path, str(ROOT), str(uid), json.dumps(groups)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return json.loads(done.stdout)


def fill(served: Served) -> None:
    directories = ["priv", "nodes", "nodes/n1", "nodes/n1/priv", "nodes/n1/qemu"]
    for path, kind in [("open", "file"), *((path, "dir") for path in directories), ("priv/secret", "file")]:
        served.backend._change("put", path)
        served.backend._enter(path, kind, b"data")


@pytest.mark.live
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_reads_status_and_names_but_no_file_and_changes_nothing(serve: Callable[..., Served]):
    """X3 on a real socket with a real other uid; hidden entries do not even show in a listing."""
    assert as_user(serve(lab=True), NOBODY, []) == {
        "may": ["read"],
        "quorum": "done",
        "read": "DENIED",
        "private": "DENIED",
        "write": "DENIED",
        "private_write": "DENIED",
        "listing": ["nodes", "nodes/n1", "nodes/n1/qemu", "open"],
        "cuts": "DENIED",
        "private_below": ["DENIED", "DENIED", "DENIED"],
        "raw_write": "DENIED",
    }


@pytest.mark.live
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_member_of_the_group_writes_except_in_priv(serve: Callable[..., Served]):
    """The configured group, here a supplementary one."""
    group = grp.getgrall()[-1].gr_gid
    answer = as_user(serve(authority=Authority(group=group)), NOBODY, [group])
    assert answer["may"] == ["read", "write"]
    assert answer["read"] == "done"
    assert (answer["write"], answer["private"], answer["private_write"]) == ("done", "DENIED", "DENIED")
    assert answer["private_below"] == ["DENIED", "DENIED", "done"]
    assert answer["raw_write"] == "done"
