"""The command line of the benchmark."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

SUITES = ("latency", "throughput", "store", "failover", "links", "idle")
"""In the order they run."""


@dataclass(frozen=True, slots=True)
class Options:
    """suites: which run, in this order. See the help for the rest."""

    suites: tuple[str, ...]
    samples: int
    rounds: int
    seconds: float
    runs: int
    minutes: float
    settings: tuple[str, ...]
    directory: Path
    json: Path | None


def parse(argv: list[str] | None = None) -> Options:
    """Exits with status 2 and a line that says why, for what cannot be run."""
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measures three clusterd daemons on this machine over loopback: real processes, sockets and disk.",
        epilog="Percentiles are exact (nearest rank over all samples). Rounds are repeated and their median is told.",
    )
    add = parser.add_argument
    add("suites", nargs="*", metavar="SUITE", help=f"any of {', '.join(SUITES)} (all of them)")
    add("--samples", type=_count, default=10_000, metavar="N", help="messages per latency round (10000)")
    add("--rounds", type=_count, default=3, metavar="N", help="rounds of latency, throughput and store (3)")
    add("--seconds", type=_seconds, default=5.0, metavar="S", help="length of a throughput or store round (5)")
    add("--runs", type=_count, default=10, metavar="N", help="faults per kind in failover and links (10)")
    add("--minutes", type=_seconds, default=1.0, metavar="M", help="how long the daemons idle (1)")
    add(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="a setting of the cluster, as in lab up"
    )
    add("--dir", type=Path, default=Path("/var/tmp"), metavar="DIR", help="where the disk to measure is (/var/tmp)")
    add("--json", type=Path, metavar="FILE", help="write the results there too, one JSON object a line")
    given = parser.parse_args(argv)
    unknown = [name for name in given.suites if name not in SUITES]
    if unknown:
        parser.error(f"there is no suite {unknown[0]!r}; there are {', '.join(SUITES)}")
    for line in given.set:
        section, dot, key = line.partition("=")[0].rpartition(".")
        if "=" not in line or not (section and dot and key):
            parser.error(f"--set {line}: SECTION.KEY=VALUE is needed, like totem.token=1000")
    if not given.dir.is_dir():
        parser.error(f"--dir {given.dir}: is not a directory")
    if given.json is not None and not given.json.absolute().parent.is_dir():
        parser.error(f"--json {given.json}: its directory does not exist")
    return Options(
        suites=tuple(name for name in SUITES if name in (given.suites or SUITES)),
        samples=given.samples,
        rounds=given.rounds,
        seconds=given.seconds,
        runs=given.runs,
        minutes=given.minutes,
        settings=tuple(given.set),
        directory=given.dir,
        json=given.json,
    )


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 < number < 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
