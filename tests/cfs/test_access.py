"""Ownership and modes by path (facts/pmxcfs.md section 5; DESIGN X3; cfs/access.py)."""

from __future__ import annotations

import pytest

from cfs.access import Caller, is_private, may_change, may_list, may_read, mode


@pytest.mark.parametrize(
    ("path", "directory", "writable", "bits"),
    [
        ("", True, True, 0o755),
        ("", True, False, 0o755),
        ("a", True, True, 0o755),
        ("a", True, False, 0o555),
        ("a/f", False, True, 0o640),
        ("a/f", False, False, 0o440),
        ("priv", True, True, 0o700),
        ("priv", True, False, 0o500),
        ("priv/x/f", False, True, 0o600),
        ("priv/f", False, False, 0o400),
        ("nodes/n1/priv", True, True, 0o700),
        ("nodes/n1/priv/f", False, True, 0o600),
        ("nodes/n1/pve-ssl.key", False, True, 0o640),
    ],
)
def test_modes(path: str, directory: bool, writable: bool, bits: int) -> None:
    """0755/0640, private 0700/0600, without write bits when not quorate; the root stays (section 5)."""
    assert mode(path, directory, writable) == bits


@pytest.mark.parametrize("path", ["private", "a/priv", "nodes/priv", "nodes/n1/private", "xpriv/f", "nodes/n1/a/priv"])
def test_not_private(path: str) -> None:
    """Only `priv` at the top and `nodes/NAME/priv` are private."""
    assert not is_private(path)


@pytest.mark.parametrize(
    ("caller", "path", "listed", "read", "changed"),
    [
        (Caller.ADMIN, "priv/f", True, True, True),
        (Caller.GROUP, "priv/f", False, False, False),
        (Caller.GROUP, "a/f", True, True, True),
        (Caller.OTHER, "a/f", True, False, False),
        (Caller.OTHER, "nodes/n1/priv", False, False, False),
    ],
)
def test_who_may(caller: Caller, path: str, listed: bool, read: bool, changed: bool) -> None:
    """Others list and stat, the group uses what is not private, the admin everything (X3)."""
    assert (may_list(caller, path), may_read(caller, path), may_change(caller, path)) == (listed, read, changed)


@pytest.mark.parametrize("path", ["", "nodes", "nodes/n1"])
def test_the_group_does_not_take_private_things_along(path: str) -> None:
    """A recursive delete above a private directory is the admin's."""
    assert not may_change(Caller.GROUP, path, recursive=True)
    assert may_change(Caller.GROUP, "nodes/n1/qemu-server", recursive=True)
    assert may_change(Caller.ADMIN, path, recursive=True)
