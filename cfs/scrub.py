"""Memory rots too: the tree is looked at again, a part at a time, against the digests its entries were made with.

Source: DESIGN 4, S4 and S6. A tree's digest is the sum of what its entries were when they came (cfs/digest.py).
Compared between members it shows that they came to different trees, but not that a bit of one has flipped since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from cfs.digest import encode_entry
from cfs.entries import Entry

PART_ENTRIES = 1000  # looked at in one part; about 3 ms
PART_BYTES = 1 << 20


class Scrub:
    """Goes round and round over the entries of a tree that changes meanwhile."""

    __slots__ = ("_paths",)

    def __init__(self) -> None:
        self._paths: Iterator[str] = iter(())

    def part(self, entries: Mapping[str, Entry]) -> str | None:
        """Look at the next part; the path of an entry that is not what it was made as, None while all are."""
        count = size = 0
        while count < min(PART_ENTRIES, len(entries)) and size < PART_BYTES:
            path = next(self._paths, None)
            if path is None:
                self._paths = iter(list(entries))
                continue
            entry = entries.get(path)
            if entry is None:  # removed since this round began
                continue
            data = encode_entry(entry)
            count, size = count + 1, size + len(data)
            if int.from_bytes(hashlib.sha256(data).digest(), "big") != entry.digest:
                return path
        return None
