"""The two secret files of a node: the cluster key (authkey) and its own identity.

Both are read only when nobody but their owner may read them. The cluster key is any 128 to 4096 bytes, as
corosync-keygen makes them; the identity is an X25519 private key of 32 bytes, whose public half stands in the
nodelist as 64 hex digits.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from transport.errors import ClusterError
from transport.io.files import write_durably

MIN_KEY, MAX_KEY, NEW_KEY = 128, 4096, 256
IDENTITY = 32


class KeyFileError(ClusterError):
    """A secret file that cannot be used; the sentence names it and what to do, never its content."""


def read_secret(path: Path, least: int, most: int) -> bytes:
    """Raises KeyFileError: missing, readable by others, or of a wrong size."""
    try:
        with path.open("rb") as file:
            info = os.fstat(file.fileno())
            data = file.read(most + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read: {error.strerror}") from error
    if not stat.S_ISREG(info.st_mode) or info.st_mode & 0o077:
        raise KeyFileError(f"{path}: others may read this secret: chmod 600 {path}")
    if not least <= len(data) <= most:
        wanted = f"{least}" if least == most else f"{least} to {most}"
        raise KeyFileError(f"{path}: {min(len(data), most)} bytes, {wanted} expected")
    return data


def read_authkey(path: Path) -> bytes:
    return read_secret(path, MIN_KEY, MAX_KEY)


def read_identity(path: Path) -> bytes:
    return read_secret(path, IDENTITY, IDENTITY)


def make_authkey(path: Path) -> None:
    write_durably(path, os.urandom(NEW_KEY))


def make_identity(path: Path) -> bytes:
    """Write a new identity; returns its public half."""
    private = os.urandom(IDENTITY)
    write_durably(path, private)
    return public_half(private)


def public_half(private: bytes) -> bytes:
    key = X25519PrivateKey.from_private_bytes(private)
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
