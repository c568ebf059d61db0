"""What this node said yes to: changes of the configuration that are on its disk before the others hear of the yes.

A change is in force from the last yes on. Who is cut off just before that one, or dies before its new file is written,
goes on by the old configuration, while another node may run the new one. So a yes is a promise that outlives the
process: as long as it is not known how the change ended (it is *in doubt*), this node takes nothing older, agrees to no
other text of that version or an older one, and takes up the change as soon as it meets somebody who runs it. All that
promised it together may finish it; where one of them did not, it is in force nowhere.

So of all the majorities of one configuration only one can put a next one in force under one version: any two of them
have a node in common, and that one knows of the first change. (Lamport, "Paxos Made Simple", 2001, section 2.2: an
acceptor that has promised; one change at a time instead of ballots.)

The file `promises` in the state directory, sealed (clusterd/sealed.py), big-endian: u8 version 1, u64 since, u8 count,
then for each, oldest first: 16 bytes change id, u64 version, u64 ring number, u16 count and u16 each of the holders,
text of the configuration as a blob.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import NodeId

NAME = "promises"
MAX_TEXT = 256 * 1024
MAX_HELD = 4
"""Changes in doubt at a time; further ones are refused."""
_MAX_HOLDERS = 1024
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Promise:
    """ring_seq: of the ring in which it was asked for. holders: who has it on disk, if all said yes."""

    change_id: bytes
    version: int
    ring_seq: int
    holders: tuple[NodeId, ...]
    text: bytes

    @property
    def digest(self) -> bytes:
        return hashlib.sha256(self.text).digest()


class Promises:
    """The last of them.

    since: the number of the first ring, with quorum, of which this disk remembers what was promised; 0: none yet. A
    node whose disk is newer than a promise cannot say that it did not make it.
    """

    def __init__(self, since: int = 0, held: Iterable[Promise] = ()) -> None:
        self.since = since
        self._held = list(held)

    def doubtful(self, version: int) -> list[Promise]:
        """Those above the version in force here, the oldest first."""
        return [promise for promise in self._held if promise.version > version]

    def add(self, promise: Promise, version: int) -> None:
        """version: in force here. What is below it is over; the one of it stays, for the file of the configuration may
        not be written yet."""
        self._held = [other for other in self._held if other.version >= version]
        self._held.append(promise)

    def drop(self, change_id: bytes) -> bool:
        """It came to nothing. Whether it was held."""
        before = len(self._held)
        self._held = [promise for promise in self._held if promise.change_id != change_id]
        return len(self._held) < before

    def encode(self) -> bytes:
        """The file's content, without its seal."""
        writer = Writer().u8(_VERSION).u64(self.since).u8(len(self._held))
        for promise in self._held:
            writer.raw(promise.change_id).u64(promise.version).u64(promise.ring_seq).u16(len(promise.holders))
            for node in promise.holders:
                writer.u16(node)
            writer.blob(promise.text)
        return writer.done()


def decode(data: bytes) -> Promises:
    """Raises WireError."""
    reader = Reader(data)
    if reader.u8() != _VERSION:
        raise WireError("another version of this file")
    since, held = reader.u64(), []
    for _ in range(reader.u8()):
        change_id, version, ring_seq, count = reader.raw(16), reader.u64(), reader.u64(), reader.u16()
        if count > _MAX_HOLDERS:
            raise WireError(f"{count} holders of one promise")
        holders = tuple(reader.u16() for _ in range(count))
        held.append(Promise(change_id, version, ring_seq, holders, reader.blob(MAX_TEXT)))
    reader.end()
    return Promises(since, held)
