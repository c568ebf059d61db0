"""Parts of large files on their way in: replicated, bounded, dropped by ordered rules only.

An upload is a list of chunks, each an ordered STAGE operation that begins where the last ended; one small PUT_STAGED
makes the file. Abandoned uploads need no clock: when a chunk finds no room, the upload untouched for longest is
dropped, on all nodes alike because `touched` is a log index.
"""

from __future__ import annotations

from cfs.entries import Staged
from cfs.limits import INLINE_BYTES, Limits


class Staging:
    """Uploads by their 16-byte id.  dirty: changed since last taken, None = gone."""

    __slots__ = ("dirty", "size", "uploads")

    def __init__(self, uploads: dict[bytes, Staged] | None = None) -> None:
        self.uploads: dict[bytes, Staged] = dict(uploads or {})
        self.size = sum(staged.size for staged in self.uploads.values())
        self.dirty: dict[bytes, Staged | None] = {}

    def length(self, ident: bytes) -> int:
        """Bytes staged so far, 0 if there is no such upload."""
        staged = self.uploads.get(ident)
        return staged.size if staged else 0

    def append(self, ident: bytes, chunk: bytes, index: int, limits: Limits) -> int:
        """Add a chunk, first making room; the new length. That one upload fits staging_bytes was judged before."""
        old = self.uploads.get(ident)
        chunks = old.chunks if old else ()
        if chunks and len(chunks[-1]) + len(chunk) <= INLINE_BYTES:  # many small ones would make a long list
            chunks = (*chunks[:-1], chunks[-1] + chunk)
        else:
            chunks = (*chunks, chunk)
        others = sorted((staged.touched, key) for key, staged in self.uploads.items() if key != ident)
        count = len(others) + 1
        for _, key in others:
            if self.size + len(chunk) <= limits.staging_bytes and count <= limits.staging_count:
                break
            self.drop(key)
            count -= 1
        made = Staged(chunks, self.length(ident) + len(chunk), index)
        self.uploads[ident] = made
        self.size += len(chunk)
        self.dirty[ident] = made
        return made.size

    def joined(self, ident: bytes) -> bytes:
        """The whole content."""
        return b"".join(self.uploads[ident].chunks)

    def drop(self, ident: bytes) -> None:
        """Forget an upload; nothing if it is not there."""
        staged = self.uploads.pop(ident, None)
        if staged is not None:
            self.size -= staged.size
            self.dirty[ident] = None


def staged_from(data: bytes, touched: int) -> Staged:
    """An upload of these bytes, in chunks as they are kept."""
    chunks = tuple(data[start : start + INLINE_BYTES] for start in range(0, len(data), INLINE_BYTES))
    return Staged(chunks, len(data), touched)
