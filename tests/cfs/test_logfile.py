"""The log on disk: torn ends, rot, cuts, segments, trimming (cfs/io/logfile.py; S6)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from cfs.io import files, logfile
from cfs.io.logfile import HEAD_BYTES, LogFile, read_log
from cfs.records import START, LogPosition, LogRecord
from tests.cfs.building import put, records


def written(path: Path, *groups: list[LogRecord], after: LogPosition = START) -> Path:
    """A log of these groups, one frame each; its single segment."""
    log = LogFile.create(path, after)
    for group in groups:
        log.append(group, group[-1].index if group else 0)
    log.close()
    return next(path.glob("*.log"))


def some(count: int, after: LogPosition = START) -> list[LogRecord]:
    return records([put(f"f{n}", bytes([n]) * 20) for n in range(count)], after)


def reopened(path: Path) -> list[LogRecord]:
    log, found = LogFile.open(path)
    assert log is not None, found.damage
    log.close()
    return found.records


def test_what_was_appended_is_there(tmp_path: Path) -> None:
    """Records, their order, the commit index and the end come back."""
    made = some(5)
    written(tmp_path / "log", made[:2], made[2:])
    log, found = LogFile.open(tmp_path / "log")
    assert log is not None
    assert (found.records, found.commit_index, found.end, log.end) == (made, 5, made[-1].position, made[-1].position)
    log.close()


def test_a_log_may_begin_anywhere(tmp_path: Path) -> None:
    """After an adoption the first record follows the adopted position."""
    made = some(4)
    written(tmp_path / "log", made[2:], after=made[1].position)
    assert reopened(tmp_path / "log") == made[2:]


def test_cut_at_every_byte_leaves_a_prefix(tmp_path: Path) -> None:
    """A torn end is cut off, whole groups survive, and the log can be appended to again (brief: kill at every byte)."""
    made = some(6)
    groups = [made[:1], made[1:3], made[3:]]
    segment = written(tmp_path / "log", *groups)
    whole = segment.read_bytes()
    prefixes = [[], made[:1], made[:3], made]
    seen = set()
    for size in range(HEAD_BYTES, len(whole) + 1):
        segment.write_bytes(whole[:size])
        log, found = LogFile.open(tmp_path / "log")
        assert log is not None
        assert found.records in prefixes
        seen.add(len(found.records))
        assert found.commit_index <= found.end.index
        log.append(some(1, found.end))
        log.close()
        assert len(reopened(tmp_path / "log")) == len(found.records) + 1
    assert seen == {0, 1, 3, 6}


def test_an_unfinished_group_with_holes_is_torn_not_damaged(tmp_path: Path) -> None:
    """Pages of an unsynced group reach the disk in any order: nobody was told about it, so it is just cut off."""
    made = some(6)
    segment = written(tmp_path / "log", made[:1], made[1:])
    raw = bytearray(segment.read_bytes())
    raw[HEAD_BYTES + 200 : HEAD_BYTES + 260] = bytes(60)
    segment.write_bytes(raw)
    assert reopened(tmp_path / "log") == made[:1]


def test_every_flipped_bit_inside_is_damage(tmp_path: Path) -> None:
    """Rot in what was on disk is found, told, and nothing is cut away (S6)."""
    made = some(3)
    segment = written(tmp_path / "log", made[:1], made[1:2], [], made[2:])
    whole = segment.read_bytes()
    first_frames = len(whole) - len(logfile.encode_frame(made[2:], 0, 0, 0))
    for at in range(first_frames):
        raw = bytearray(whole)
        raw[at] ^= 1 << (at % 8)
        segment.write_bytes(raw)
        log, found = LogFile.open(tmp_path / "log")
        assert log is None
        assert found.damage
        assert found.records == made[: len(found.records)]
        assert segment.read_bytes() == bytes(raw)


def test_a_commit_mark_proves_the_record_before_it(tmp_path: Path) -> None:
    """Once a mark follows, rot in the very last operation is damage too, no torn end."""
    made = some(2)
    segment = written(tmp_path / "log", made, [])
    raw = bytearray(segment.read_bytes())
    raw[HEAD_BYTES + 150] ^= 4
    segment.write_bytes(raw)
    assert LogFile.open(tmp_path / "log")[0] is None


def test_a_log_inside_a_file_is_no_frame(tmp_path: Path) -> None:
    """A torn record whose content is a copy of another log is still a torn end."""
    other = written(tmp_path / "other", some(3), []).read_bytes()
    before = some(1)[0].position
    made = records([put("a"), put("backup", other)], before)
    segment = written(tmp_path / "log", made[:1], made[1:], after=before)
    os.truncate(segment, segment.stat().st_size - 1)
    assert reopened(tmp_path / "log") == made[:1]


def test_a_dropped_tail_stays_dropped(tmp_path: Path) -> None:
    """A cut is appended, not done in place; what follows it takes the dropped records' indexes."""
    made = some(4)
    log = LogFile.create(tmp_path / "log", START)
    log.append(made)
    log.cut(made[1].position)
    other = records([put("other")], made[1].position)
    log.append(other)
    log.close()
    assert reopened(tmp_path / "log") == made[:2] + other


def test_segments_follow_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log of many segments reads as one; a missing one in the middle is damage."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 400)
    made = some(20)
    written(tmp_path / "log", *([record] for record in made))
    segments = sorted((tmp_path / "log").glob("*.log"))
    assert len(segments) > 3
    assert reopened(tmp_path / "log") == made
    segments[1].unlink()
    assert "does not follow" in read_log(tmp_path / "log")[0].damage


def test_a_crash_while_a_segment_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty or half made last segment held nothing yet: it goes, the log goes on."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 400)
    made = some(6)
    written(tmp_path / "log", *([record] for record in made))
    last = sorted((tmp_path / "log").glob("*.log"))[-1]
    for size in (0, HEAD_BYTES - 1):
        (last.parent / "00000000000000000099.log").write_bytes(bytes(size))
        assert reopened(tmp_path / "log") == made
        assert not (last.parent / "00000000000000000099.log").exists()


def test_trimming_keeps_what_peers_may_need(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole segments go from the front, never beyond the checkpoint, never below the retained records."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 400)
    monkeypatch.setattr(logfile, "RETAIN_RECORDS", 5)
    made = some(30)
    written(tmp_path / "log", *([record] for record in made))
    log, _ = LogFile.open(tmp_path / "log")
    assert log is not None
    log.trim(20)
    kept = log.read().records
    assert kept[-1] == made[-1]
    assert 11 <= kept[0].index <= 16
    log.trim(20)
    assert log.read().records == kept
    log.close()


def test_after_an_error_the_end_is_the_last_good_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed fsync proves nothing: what it covered is cut off, what was told before is still there."""
    made = some(4)
    log = LogFile.create(tmp_path / "log", START)
    log.append(made[:1])
    log.append(made[1:2], sync=False)
    with monkeypatch.context() as broken:
        broken.setattr(files, "sync", _fail)
        with pytest.raises(OSError, match="broken"):
            log.append(made[2:])
    log.repair()
    assert log.end == made[1].position
    log.append(made[2:3])
    log.close()
    assert reopened(tmp_path / "log") == made[:3]


def _fail(*args: object) -> None:
    raise OSError(5, "broken")


def test_log_bytes_are_few(tmp_path: Path) -> None:
    """A 100-byte file costs less than 3 times its payload in the log, a 1 kB one less than 1.2 times."""
    for size, factor in ((100, 3.0), (1024, 1.2)):
        log = LogFile.create(tmp_path / str(size), START)
        end = START
        for n in range(100):
            record = records([put(f"nodes/n1/file{n}", bytes(size))], end)
            log.append(record)
            end = record[-1].position
        assert log.written < factor * size * 100
        log.close()


def test_a_cut_to_before_the_segment_delays_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments are read in the order of their names: none may begin at or before the first record of the last one."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 400)
    made = some(12)
    for kept in (3, 5, 6):
        log = LogFile.create(tmp_path / f"log{kept}", START)
        for record in made:
            log.append([record])
        assert len(log._segments) > 1
        log = _cut_and_go_on(log, made, kept)
        log.close()
        assert reopened(tmp_path / f"log{kept}")[:kept] == made[:kept]


def _cut_and_go_on(log: LogFile, made: list[LogRecord], kept: int) -> LogFile:
    log.cut(made[kept - 1].position)
    for record in records([put(f"g{n}", bytes([n]) * 20) for n in range(12)], made[kept - 1].position):
        log.append([record])
    return log


def test_trimming_keeps_what_a_cut_goes_back_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment in which a tail was dropped that began in an earlier one goes together with that, or neither."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 400)
    monkeypatch.setattr(logfile, "RETAIN_RECORDS", 1)
    made = some(12)
    log = LogFile.create(tmp_path / "log", START)
    for record in made:
        log.append([record])
    first = log._segments[-1].first
    log = _cut_and_go_on(log, made, first - 3)
    held = log.read().records
    for reopen in (False, True):
        if reopen:
            log.close()
            opened, _ = LogFile.open(tmp_path / "log")
            assert opened is not None
            log = opened
        following = next(segment.first for segment in log._segments if segment.first > first)
        log.trim(following - 1)  # within the segment with the cut
        assert (log.read().damage, log.read().records[-1]) == ("", held[-1])
        assert log.read().first.index < first - 3
    half = shutil.copytree(tmp_path / "log", tmp_path / "half")
    log.trim(following + 1)
    found = log.read()
    assert (found.damage, found.records) == ("", held[following - 1 :])
    log.close()
    for path in half.iterdir():  # as after a crash between two removals
        if int(path.stem) < first:
            path.unlink()
    assert reopened(half) == held[following - 1 :]


def test_a_segment_that_could_not_be_made_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left of it would stand in the way of the one that begins elsewhere after a tail was dropped."""
    monkeypatch.setattr(logfile, "SEGMENT_BYTES", 400)
    made = some(12)
    log = LogFile.create(tmp_path / "log", START)
    done = 0
    with monkeypatch.context() as broken:
        broken.setattr(files, "sync_path", _fail)
        with pytest.raises(OSError, match="broken"):
            for record in made:
                log.append([record])
                done += 1
    log.repair()
    assert log.end == made[done - 1].position
    log = _cut_and_go_on(log, made, done - 1)
    log.close()
    assert reopened(tmp_path / "log")[: done - 1] == made[: done - 1]
