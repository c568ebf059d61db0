"""Small state files that carry their own checksum: what rotted on disk is noticed, kept aside and said.

Content, then 8 bytes of its SHA-256.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from transport.core import Log
from transport.io.files import read_if_there

_CHECK = 8
ASIDE = ".damaged"


def seal(data: bytes) -> bytes:
    """The file's content."""
    return data + hashlib.sha256(data).digest()[:_CHECK]


def read_sealed(path: Path, log: Log) -> bytes | None:
    """What was sealed; None when there is no such file, or a damaged one, which is set aside. Raises OSError."""
    raw = read_if_there(path)
    if raw is None:
        return None
    data = raw[:-_CHECK]
    if len(raw) >= _CHECK and seal(data) == raw:
        return data
    set_aside(path, log)
    return None


def set_aside(path: Path, log: Log) -> None:
    """Keep a damaged file out of the way, under another name. Raises OSError."""
    aside = path.with_name(path.name + ASIDE)
    path.replace(aside)
    log.warning(f"{path} is damaged and not used; it is kept as {aside.name}")
