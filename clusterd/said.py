"""What the members say of their configuration at the barrier, and which one is in force by it.

A word, big-endian: u8 version 1, u64 config_version, u8 quorate before, 32 bytes digest of the text, u32 T_excl in
milliseconds, u64 cluster key; then, from who writes down what it agrees to (promises.py), u64 since, u8 count, and for
each change in doubt 16 bytes id, u64 config_version, 32 bytes digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from clusterd.promises import Promise
from transport.codec import Reader, Writer
from transport.ids import NodeId

VERSION = 1


@dataclass(frozen=True, slots=True)
class Said:
    """A member's word. exclusion: its T_excl, seconds. outside: see Reconfigure.outside. promises: it writes down what
    it agrees to, since the ring of that number. held: id -> (version, digest) of each change in doubt."""

    version: int
    was_quorate: bool
    digest: bytes
    exclusion: float
    outside: int
    promises: bool
    since: int
    held: Mapping[bytes, tuple[int, bytes]]


def encode(
    version: int, was_quorate: bool, digest: bytes, exclusion: float, outside: int, since: int, held: Iterable[Promise]
) -> bytes:
    writer = Writer().u8(VERSION).u64(version).u8(was_quorate).raw(digest)
    writer.u32(round(exclusion * 1000)).u64(outside).u64(since)
    doubtful = list(held)
    writer.u8(len(doubtful))
    for promise in doubtful:
        writer.raw(promise.change_id).u64(promise.version).raw(promise.digest)
    return writer.done()


def decode(blob: bytes) -> Said | None:
    """None: in a way that is not known here. Raises WireError. What follows is for newer versions to say."""
    reader = Reader(blob)
    if reader.u8() != VERSION:
        return None
    version, was_quorate, digest = reader.u64(), bool(reader.u8()), reader.raw(32)
    exclusion, outside = reader.u32() / 1000, reader.u64()
    if not reader.left:
        return Said(version, was_quorate, digest, exclusion, outside, False, 0, {})
    since = reader.u64()
    held = {reader.raw(16): (reader.u64(), reader.raw(32)) for _ in range(reader.u8())}
    return Said(version, was_quorate, digest, exclusion, outside, True, since, held)


def in_force(said: Mapping[NodeId, Said]) -> tuple[int, list[NodeId]]:
    """The version of the side that could act, and who of it runs that; after a full stop, of all, the newest. But what
    the acting side has agreed to is in force as soon as somebody runs it."""
    acting = {node: one for node, one in said.items() if one.was_quorate} or said
    version = max((one.version for one in acting.values()), default=0)
    running = {(one.version, one.digest) for one in said.values() if one.version > version}
    agreed = {held for one in acting.values() for held in one.held.values()}.intersection(running)
    if not agreed:
        return version, [node for node, one in acting.items() if one.version == version]
    newest = max(agreed)
    return newest[0], [node for node, one in said.items() if (one.version, one.digest) == newest]


def disproved(promise: Promise, said: Mapping[NodeId, Said]) -> bool:
    """Somebody is here who would hold it too, had all said yes: the change is in force nowhere."""
    for node in promise.holders:
        one = said.get(node)
        if one is None or promise.change_id in one.held or one.version >= promise.version:
            continue
        if 0 < one.since <= promise.ring_seq:
            return True
    return False


def finisher(promise: Promise, said: Mapping[NodeId, Said]) -> NodeId | None:
    """Who is to propose it again, the lowest that holds it: all are here who would run it, had all said yes, and nobody
    does. One whose disk was replaced or put back since may have been the only one that did; finished, it is right in
    any case, and refused, it is over.
    None: somebody is away, or runs it or a later one, or nobody holds it."""
    if not all(node in said for node in promise.holders):
        return None
    if any(one.version >= promise.version for one in said.values()):
        return None
    return min((node for node in promise.holders if promise.change_id in said[node].held), default=None)
