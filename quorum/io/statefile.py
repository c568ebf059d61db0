"""The file that holds SavedState: one line with its own checksum, replaced as a whole.

    highest_expected=5 newcomer=0 2f0c11d7

The reference keeps expected votes in a file too (`ev_tracking`), but closes it after the first read and then fails to
write it (facts/votequorum.md section 4.6). Here a write is a temporary file, fsync, rename, and fsync of the
directory: after a crash there is the old state or the new one.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

from quorum.events import SavedState
from quorum.options import MAX_VOTES
from transport.core import Log
from transport.ids import MAX_NODE_ID
from transport.io.files import write_durably

NAME = "quorum"
_LINE = re.compile(r"(highest_expected=(\d{1,7}) newcomer=(\d{1,5})) ([0-9a-f]{8})\n")


def load(path: Path, log: Log) -> SavedState:
    """The state last saved. No file: that of a node that never ran. Raises OSError.

    A damaged one is kept aside, said, and loaded as lost. For `newcomer` that is the safe side by itself: everybody
    listed is counted; what is done without the highest expected votes is the electorate's to say.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return SavedState()
    match = _LINE.fullmatch(raw.decode("ascii", "replace"))
    if match is not None and int(match[4], 16) == zlib.crc32(match[1].encode()):
        state = SavedState(int(match[2]), int(match[3]))
        if state.highest_expected <= MAX_VOTES and state.newcomer <= MAX_NODE_ID:
            return state
    aside = path.with_name(path.name + ".damaged")
    path.replace(aside)
    log.error(f"{path} is damaged and not used; it is kept as {aside.name}")
    return SavedState(lost=True)


def encode(state: SavedState) -> bytes:
    """The file's content."""
    text = f"highest_expected={state.highest_expected} newcomer={state.newcomer}"
    return f"{text} {zlib.crc32(text.encode()):08x}\n".encode()


def save(path: Path, state: SavedState) -> None:
    """`state` is on disk when this returns. Raises OSError: then the old state is."""
    write_durably(path, encode(state))
