"""One target under coverage guidance, in a process of its own, forked from one that has imported everything.

atheris rewrites what is imported under its eyes, which takes seconds: so that is done once, and each target begins from
there. An input that raises, takes ten seconds or a gigabyte is written into `found` and ends the process with a status
that is not 0.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import targets

PACKAGES = ["transport", "quorum", "cfs", "clusterd"]
MEMORY_MB = 1024
SLOW = 10  # seconds for one input
LONGEST = 4096  # bytes of one input: enough for some hundred choices


def load() -> str:
    """Import what the targets need, under coverage guidance if atheris is here; else why it is not."""
    try:
        import atheris
    except ImportError as error:
        targets.load()
        return str(error)
    with contextlib.redirect_stderr(io.StringIO()), atheris.instrument_imports(include=PACKAGES):
        targets.load()
    return ""


def start(
    target: Callable[[bytes], None], seconds: int, work: Path, corpus: Path, found: str, said: Path
) -> multiprocessing.process.BaseProcess:
    """Begin to fuzz `target`. work: where inputs that lead somewhere new are kept.  corpus: where it begins, and what
    is not changed.  found: how the names of broken inputs begin.  said: the file that libFuzzer writes to."""

    def fuzz() -> None:
        with said.open("wb", buffering=0) as out:
            for stream in (1, 2):
                os.dup2(out.fileno(), stream)
        import atheris

        target(b"")  # what it makes once, and keeps, shall not cost it its time

        def watched(data: bytes) -> None:
            try:
                target(data)
            except Exception:  # libFuzzer keeps what takes too long or too much; of an exception it hears too late
                Path(f"{found}{hashlib.sha1(data).hexdigest()}").write_bytes(data)
                raise

        options = [
            f"-max_total_time={seconds}",
            f"-max_len={LONGEST}",
            "-len_control=20",
            f"-rss_limit_mb={MEMORY_MB}",
            f"-timeout={SLOW}",
            f"-artifact_prefix={found}",
            "-print_final_stats=1",
            "-verbosity=1",
        ]
        atheris.Setup([sys.argv[0], *options, str(work), str(corpus)], watched)
        atheris.Fuzz()

    process = multiprocessing.get_context("fork").Process(target=fuzz)
    process.start()
    return process
