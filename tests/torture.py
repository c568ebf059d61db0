"""Trouble for as long as you like: python -m tests.torture [--minutes M]

Simulated seeds that no run had before, on one core, while the live tests are repeated on the other. Ends at the first
failure, or after M minutes (10); the exit code is 0 only if nothing failed. New seeds are counted up from the time, so
the first one printed and the commit tell the run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOT = 20  # seeds per call of the simulator
NOTHING_COLLECTED = 5


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    minutes: float = parser.parse_args().minutes
    started = time.monotonic()
    first = int(time.time()) & 0xFFFFFF
    seeds = rounds = 0
    print(f"first seed {first:06x}, {minutes:g} minutes", flush=True)
    simulator: subprocess.Popen[bytes] | None = None
    live: subprocess.Popen[bytes] | None = None
    try:
        while True:
            over = time.monotonic() - started > minutes * 60
            if simulator is None and not over:
                seed = (first + seeds) & 0xFFFFFF
                arguments = ["-m", "tests.sim", "--seed", f"{seed:x}", "--runs", str(LOT)]
                simulator = subprocess.Popen([sys.executable, *arguments], cwd=ROOT)
            if live is None and not over:
                arguments = ["-m", "pytest", "-m", "live", "-x", "-p", "no:xdist", "tests"]
                live = subprocess.Popen([sys.executable, *arguments], cwd=ROOT)
            if simulator is None and live is None:
                break
            time.sleep(0.5)
            if simulator is not None and (code := simulator.poll()) is not None:
                simulator, seeds = None, seeds + LOT
                if code:
                    return failed("the simulator", live)
            if live is not None and (code := live.poll()) is not None:
                live, rounds = None, rounds + 1
                if code not in (0, NOTHING_COLLECTED):
                    return failed("a live test", simulator)
    except KeyboardInterrupt:
        print("stopped")
        return 130
    print(f"{seeds} seeds from {first:06x} and {rounds} rounds of the live tests held in {minutes:g} minutes")
    return 0


def failed(what: str, other: subprocess.Popen[bytes] | None) -> int:
    """The first failure ends it; what else runs is let finish, so that it cleans up."""
    if other is not None:
        other.wait()
    print(f"{what} failed: see above")
    return 1


if __name__ == "__main__":
    sys.exit(main())
