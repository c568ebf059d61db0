"""Small files, written by a thread of their own (transport/io/files.py)."""

import asyncio
from pathlib import Path

from transport.io.files import FileWriter


class Files:
    """A writer, what it complained about, and what `when_saved` told."""

    def __init__(self) -> None:
        self.errors: list[Path] = []
        self.told: list[bool] = []
        self.writer = FileWriter(asyncio.get_running_loop(), lambda path, reason: self.errors.append(path))

    async def until_told(self) -> None:
        async with asyncio.timeout(20):
            while not self.told:
                await asyncio.sleep(0.001)


async def test_saved_is_told_at_once_when_nothing_is_asked_for() -> None:
    """ "when everything asked for is on disk (True)": without a write that is now."""
    files = Files()
    files.writer.when_saved(files.told.append)
    assert files.told == [True]
    files.writer.close()


async def test_saved_is_told_when_the_write_that_a_write_asked_for_is_on_disk(tmp_path: Path) -> None:
    """A removal is saved before the configuration that knows nothing of it: both are there when it is told."""
    files = Files()
    first, second = tmp_path / "removals", tmp_path / "corosync.conf"
    files.writer.write(first, b"1", lambda: files.writer.write(second, b"2"))
    files.writer.when_saved(lambda saved: files.told.append(saved and second.read_bytes() == b"2"))
    assert files.told == []
    await files.until_told()
    assert files.told == [True]
    files.writer.close()


async def test_not_saved_is_told_and_a_later_write_is(tmp_path: Path) -> None:
    """ "or a file cannot be written (False)"; once it can be, what is asked afterwards is told True."""
    files = Files()
    path = tmp_path / "missing" / "file"
    files.writer.write(path, b"1")
    files.writer.when_saved(files.told.append)
    await files.until_told()
    assert (files.told, files.errors) == ([False], [path])
    path.parent.mkdir()
    files.told.clear()
    files.writer.write(path, b"2")
    while files.told != [True]:  # it is told about the failure until then
        files.told.clear()
        files.writer.when_saved(files.told.append)
        await asyncio.sleep(0.001)
    assert path.read_bytes() == b"2"
    files.writer.close()
