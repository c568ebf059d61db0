"""The log: one line per event, and never the daemon's trouble."""

import io
from pathlib import Path

from clusterd.log import setup


def test_a_line_is_a_sentence_with_its_fields():
    """Time, level, the sentence, then keys for searching; a newline cannot forge a second line."""
    stream = io.StringIO()
    setup("info", stream).warning("two\nlines", peer=2)
    (line,) = stream.getvalue().splitlines()
    assert line.endswith("warning two\\nlines peer=2")


def test_a_full_disk_under_the_log_raises_nothing():
    """A disk that is full or a journal that went away costs lines, not the process (part 5: disk full)."""
    with Path("/dev/full").open("w") as stream:
        log = setup("info", stream)
        for _ in range(3):
            log.info("lost")
        try:
            stream.close()
        except OSError:
            pass
    log.info("after it was closed")
