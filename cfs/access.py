"""Who may do what to a path: computed from the path alone, as pmxcfs does, nothing is stored.

Source: facts/pmxcfs.md section 5, DESIGN 4 (X3). Everything belongs to root; the configured group may use what is not
private.
Private: `priv` and below, and `nodes/NAME/priv` and below: root (or the daemon's own uid) only.
"""

from __future__ import annotations

from enum import Enum


class Caller(Enum):
    """What a local process is to us, by its peer credentials."""

    ADMIN = "admin"  # root, or the uid clusterd runs as
    GROUP = "group"  # a member of the configured group
    OTHER = "other"


def is_private(path: str) -> bool:
    """Is it `priv`, `nodes/NAME/priv`, or below one of them?"""
    parts = path.split("/", 3)
    return parts[0] == "priv" or (len(parts) > 2 and parts[0] == "nodes" and parts[2] == "priv")


def may_hold_private(path: str) -> bool:
    """Could a private directory lie below this one? True for the root, `nodes` and `nodes/NAME`."""
    parts = path.split("/") if path else []
    return not parts or (parts[0] == "nodes" and len(parts) <= 2)


def mode(path: str, directory: bool, writable: bool) -> int:
    """Permission bits: 0755 and 0640, private 0700 and 0600; without the write bits while the store is not writable.

    The root directory keeps 0755 (as pmxcfs).
    """
    if not path:
        return 0o755
    private = is_private(path)
    bits = (0o700 if private else 0o755) if directory else (0o600 if private else 0o640)
    return bits if writable else bits & ~0o222


def may_list(caller: Caller, path: str) -> bool:
    """See names and attributes: everybody, but not in private directories."""
    return caller is Caller.ADMIN or not is_private(path)


def may_read(caller: Caller, path: str) -> bool:
    """Read a file's content: the group too, but not private ones; others never."""
    return caller is Caller.ADMIN or (caller is Caller.GROUP and not is_private(path))


def may_change(caller: Caller, path: str, recursive: bool = False) -> bool:
    """Write, make, rename or delete. recursive: with all below, which may hold what the group must not touch."""
    return may_read(caller, path) and (caller is Caller.ADMIN or not (recursive and may_hold_private(path)))
