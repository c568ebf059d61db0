"""One target under coverage guidance: python -m tests.fuzz.worker TARGET CORPUS FOUND SECONDS

Needs atheris (requirements/fuzz.in). An input that raises, takes ten seconds or a gigabyte is written into FOUND and
ends the run with a status that is not 0.
"""

from __future__ import annotations

import sys

import atheris

PACKAGES = ["transport", "quorum", "cfs", "clusterd"]
MEMORY_MB = 1024
SLOW = 10  # seconds for one input
LONGEST = 4096  # bytes of one input: enough for some hundred choices


def main(name: str, corpus: str, found: str, seconds: int) -> None:
    with atheris.instrument_imports(include=PACKAGES):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST}",
        "-len_control=20",
        f"-rss_limit_mb={MEMORY_MB}",
        f"-timeout={SLOW}",
        f"-artifact_prefix={found}/{name}-",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, corpus], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
