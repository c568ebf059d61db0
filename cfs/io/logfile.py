"""The log on disk: append-only segments of checksummed frames, one frame and one fsync per group of records.

A segment `<first index>.log` begins with a head (the position before its first record); then frames:
    4 magic, u8 flags, u32 length of the body, u32 CRC-32 over all that follows it, u32 synced, u64 commit index, body
    body: with flag CUT a u64 index after which all earlier records are dropped; then records, each u32 length +
    encoding
`synced` is the offset up to which this segment was known to be on disk when the frame was written. So a broken frame at
or beyond every later frame's `synced` was torn by the crash and is cut off: nobody was told it was on disk. A broken
frame below it was on disk once and rotted: the log is damaged, its readable beginning is given, and nothing is cut.
Frames are never changed. Dropping a tail appends a CUT frame; trimming removes whole segments from the front.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cfs.io import files
from cfs.records import LogPosition, LogRecord
from transport.codec import Reader
from transport.errors import WireError

SEGMENT_BYTES = 8 << 20  # a new segment begins when the last has reached this
RETAIN_RECORDS = 10_000  # kept behind the checkpoint for peers that are behind: so many records,
RETAIN_BYTES = 8 << 20  # or so many bytes, whichever is reached first
UNSYNCED_BYTES = 1 << 20  # `sync=False` appends are brought to disk at the latest after so much

_MAGIC = b"\xc7CL1"
_FRAME = struct.Struct("!4sBIIIQ")
_CHECKED_FROM = 13  # the checksum covers what follows it
_SEGMENT_MAGIC = b"CLUSTLOG\x01"
_U32 = struct.Struct("!I")
_U64 = struct.Struct("!Q")
_CUT = 1


@dataclass(slots=True)
class Recovered:
    """What a log holds. first: the position before the first record.  damage: a sentence, empty when all is well.

    cuts: a segment's first index -> the lowest index a cut in it goes back to, where that lies before the segment.
    """

    first: LogPosition
    records: list[LogRecord]
    commit_index: int
    damage: str = ""
    cuts: dict[int, int] = field(default_factory=dict)

    @property
    def end(self) -> LogPosition:
        return self.records[-1].position if self.records else self.first


@dataclass(slots=True)
class _Frame:
    end: int
    synced: int
    commit_index: int
    cut: int | None
    records: list[LogRecord]


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int  # index of its first record
    size: int
    seed: int  # CRC-32 of its head
    back: int  # everything up to this index must stay before it: what a cut in it goes back to, or where it begins


def _segment_head(after: LogPosition) -> tuple[bytes, int]:
    body = _SEGMENT_MAGIC + after.encode()
    seed = zlib.crc32(body)
    return body + _U32.pack(seed), seed


HEAD_BYTES = len(_segment_head(LogPosition())[0])


def encode_frame(
    records: Sequence[LogRecord], seed: int, synced: int, commit_index: int, cut: int | None = None
) -> bytes:
    """One frame's bytes. seed: CRC-32 of the segment's head."""
    parts = [b"" if cut is None else _U64.pack(cut)]
    for record in records:
        data = record.encode()
        parts += (_U32.pack(len(data)), data)
    body = b"".join(parts)
    flags = 0 if cut is None else _CUT
    tail = struct.pack("!IQ", synced, commit_index) + body
    return struct.pack("!4sBII", _MAGIC, flags, len(body), zlib.crc32(tail, seed ^ flags)) + tail


def _read_frame(data: bytes, start: int, seed: int) -> _Frame | None:
    """The frame at `start`, None if there is no whole and sound one."""
    if len(data) - start < _FRAME.size:
        return None
    magic, flags, length, check, synced, commit = _FRAME.unpack_from(data, start)
    end = start + _FRAME.size + length
    if magic != _MAGIC or end > len(data):
        return None
    if zlib.crc32(memoryview(data)[start + _CHECKED_FROM : end], seed ^ flags) != check:
        return None
    reader = Reader(memoryview(data)[start + _FRAME.size : end])
    try:
        cut = reader.u64() if flags & _CUT else None
        records = []
        while reader.left:
            records.append(LogRecord.decode(reader.raw(reader.u32())))
    except WireError:
        return None
    return _Frame(end, synced, commit, cut, records)


def _rotten(data: bytes, broken: int, seed: int) -> bool:
    """Does a sound frame after `broken` say that the bytes there were on disk?"""
    at = data.find(_MAGIC, broken + 1)
    while at >= 0:
        frame = _read_frame(data, at, seed)
        if frame is not None and frame.synced > broken:
            return True
        at = data.find(_MAGIC, at + 1)
    return False


def _segments(directory: Path) -> list[_Segment]:
    found: list[_Segment] = []
    for path in sorted(path for path in directory.glob("*.log") if path.stem.isdigit()):
        with path.open("rb") as file:
            seed = zlib.crc32(file.read(HEAD_BYTES - 4))
        found.append(_Segment(path, int(path.stem), path.stat().st_size, seed, int(path.stem) - 1))
    return found


def read_log(directory: Path) -> tuple[Recovered, int]:
    """All that is readable, and the size to cut the last segment to (-1: it has no sound head, drop it). Changes
    nothing.

    Raises OSError; FileNotFoundError when there is no segment at all.
    """
    segments = _segments(directory)
    if not segments:
        raise FileNotFoundError(f"{directory}: no log segments")
    found: Recovered | None = None
    keep = -1
    for number, segment in enumerate(segments):
        last = number == len(segments) - 1
        data = segment.path.read_bytes()
        head = data[: HEAD_BYTES - 4]
        if len(data) < HEAD_BYTES or _U32.pack(zlib.crc32(head)) != data[HEAD_BYTES - 4 : HEAD_BYTES]:
            if found is not None and last and len(data) <= HEAD_BYTES:
                return found, -1  # the crash came while this segment was made: nothing was in it yet
            damage = f"{segment.path.name}: its head is damaged"
            return _damaged(found, damage), keep
        after = LogPosition.read(Reader(head, len(_SEGMENT_MAGIC)))
        if found is None:
            found = Recovered(after, [], after.index)
        elif found.end != after:
            return _damaged(found, f"{segment.path.name}: does not follow the segment before it"), keep
        seed = zlib.crc32(head)
        keep, sound = _read_frames(found, data, seed, after.index)
        if not sound and not last and found.cuts.get(segment.first, after.index) < found.first.index:
            found = None  # the crash came while `trim` removed this one with what its cut goes back to
            continue
        if not sound:
            damage = f"{segment.path.name}: a record after index {found.end.index} does not follow"
            return _damaged(found, damage), keep
        if keep < len(data) and (not last or _rotten(data, keep, seed)):
            damage = f"{segment.path.name}: checksum does not match at byte {keep}, after index {found.end.index}"
            return _damaged(found, damage), keep
    assert found is not None
    found.commit_index = min(found.commit_index, found.end.index)
    return found, keep


def _read_frames(found: Recovered, data: bytes, seed: int, begins: int) -> tuple[int, bool]:
    """Adds the frames of one segment; where the sound ones end, and whether all records follow each other.

    begins: the index before its first record.
    """
    at = HEAD_BYTES
    while at < len(data) and (frame := _read_frame(data, at, seed)) is not None:
        if frame.cut is not None:
            if frame.cut < found.cuts.get(begins + 1, begins):
                found.cuts[begins + 1] = frame.cut
            if not found.first.index <= frame.cut <= found.end.index:
                return at, False
            del found.records[frame.cut - found.first.index :]
        end = found.end
        for record in frame.records:
            if not record.follows(end):
                return at, False
            found.records.append(record)
            end = record.position
        found.commit_index = max(found.commit_index, frame.commit_index)
        at = frame.end
    return at, True


def _damaged(found: Recovered | None, damage: str) -> Recovered:
    found = found or Recovered(LogPosition(), [], 0)
    return Recovered(found.first, found.records, min(found.commit_index, found.end.index), damage)


class LogFile:
    """The log of one generation, open for appending. After an OSError nothing may be called but `repair` and `close`.

    end: the last record told as appended.  synced_end: the last one on disk.  written: bytes written since opened.
    """

    def __init__(self, directory: Path, segments: list[_Segment], end: LogPosition, commit_index: int) -> None:
        self.end = end
        self.commit_index = commit_index
        self.written = 0
        self._directory = directory
        self._segments = segments
        self._unsynced: list[LogRecord] = []  # appended with sync=False since the last fsync
        self._unsynced_bytes = 0
        self.synced_end = end
        self._fd = os.open(segments[-1].path, os.O_WRONLY)
        self._size = self._synced = segments[-1].size

    @classmethod
    def create(cls, directory: Path, after: LogPosition) -> LogFile:
        """A new log whose first record will follow `after`, its directory's names on disk."""
        directory.mkdir(mode=0o700, exist_ok=True)
        segment = cls._new_segment(directory, after)
        return cls(directory, [segment], after, after.index)

    @classmethod
    def open(cls, directory: Path) -> tuple[LogFile | None, Recovered]:
        """What is there, a torn end cut off. None instead of a log when it is damaged. Raises OSError."""
        found, keep = read_log(directory)
        if found.damage:
            return None, found
        segments = _segments(directory)
        if keep < 0:
            segments.pop().path.unlink()
            files.sync_path(directory)
        elif keep < segments[-1].size:
            os.truncate(segments[-1].path, keep)
            files.sync_path(segments[-1].path)
            segments[-1].size = keep
        for segment in segments:
            segment.back = found.cuts.get(segment.first, segment.back)
        return cls(directory, segments, found.end, found.commit_index), found

    def append(self, records: Sequence[LogRecord], commit_index: int = 0, sync: bool = True) -> None:
        """One frame with these records (they follow `end`), and with sync one fsync for all since the last."""
        self.commit_index = max(self.commit_index, commit_index)
        self._roll()
        self._write(self._frame(records))
        end = records[-1].position if records else self.end
        if sync or self._unsynced_bytes > UNSYNCED_BYTES:
            self._sync(end)
        else:
            self._unsynced += records
            self._unsynced_bytes += sum(len(record.body) for record in records)
        self.end = end

    def sync(self) -> None:
        """What was appended with sync=False is on disk."""
        self._sync(self.end)

    def cut(self, after: LogPosition) -> None:
        """Drop the records after this position, which lies in the log."""
        self._sync(self.end)
        self._write(self._frame((), cut=after.index))
        self._segments[-1].back = min(self._segments[-1].back, after.index)
        self._sync(after)
        self.end = after

    def read(self) -> Recovered:
        """The whole log read back from disk."""
        return read_log(self._directory)[0]

    def trim(self, index: int) -> None:
        """Remove the segments that neither a tree at `index` nor peers within the retained reach need."""
        for number in range(len(self._segments) - 1, 0, -1):
            kept = self._segments[number:]
            first, size = kept[0].first, sum(segment.size for segment in kept)
            # A cut that goes back to before its segment cannot be read without the records it goes back to.
            whole = min(segment.back for segment in kept) >= first - 1
            if whole and first <= index + 1 and (index + 1 - first >= RETAIN_RECORDS or size >= RETAIN_BYTES):
                break
        else:
            return
        while self._segments[0].first < first:
            self._segments.pop(0).path.unlink()
            files.sync_path(self._directory)

    def repair(self) -> None:
        """After an error: cut off what was not on disk, write again what was told as appended. Raises OSError."""
        again = self._unsynced
        for stray in set(self._directory.glob("*.log")) - {segment.path for segment in self._segments}:
            stray.unlink()  # half made: it would stand in the way of one that begins elsewhere
        os.ftruncate(self._fd, self._synced)
        self._size = self._synced
        self.end = self.synced_end
        if again:
            self._write(self._frame(again))
        files.sync(self._fd)
        self.end = again[-1].position if again else self.end
        self._mark_synced(self.end)

    def close(self) -> None:
        os.close(self._fd)

    def _write(self, data: bytes) -> None:
        files.write(self._fd, data, self._size)
        self._size += len(data)
        self.written += len(data)
        self._segments[-1].size = self._size

    def _frame(self, records: Sequence[LogRecord], cut: int | None = None) -> bytes:
        return encode_frame(records, self._segments[-1].seed, self._synced, self.commit_index, cut)

    def _sync(self, end: LogPosition) -> None:
        """Everything written is on disk, `end` the last of it."""
        if self._synced < self._size:
            files.sync(self._fd)
            self._mark_synced(end)

    def _mark_synced(self, end: LogPosition) -> None:
        self._synced = self._size
        self.synced_end = end
        self._unsynced = []
        self._unsynced_bytes = 0

    def _roll(self) -> None:
        # After a cut back to before this segment's first record a new one's name would not sort after this one's.
        if self._size < SEGMENT_BYTES or self.end.index < self._segments[-1].first:
            return
        self._sync(self.end)
        segment = self._new_segment(self._directory, self.end)
        fd = os.open(segment.path, os.O_WRONLY)
        os.close(self._fd)
        self._fd = fd
        self._segments.append(segment)
        self._size = self._synced = segment.size

    @staticmethod
    def _new_segment(directory: Path, after: LogPosition) -> _Segment:
        path = directory / f"{after.index + 1:020d}.log"
        head, seed = _segment_head(after)
        files.write_new(path, head)
        files.sync_path(directory)
        return _Segment(path, after.index + 1, len(head), seed, after.index)


def write_records(path: Path, after: LogPosition, records: Iterable[LogRecord]) -> None:
    """A file in the form of a segment, for records set aside."""
    head, seed = _segment_head(after)
    files.write_new(path, head + encode_frame(list(records), seed, 0, 0))
