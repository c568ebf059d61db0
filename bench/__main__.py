"""python -m bench [SUITE...]: run suites and print what was measured. Exit: 0 done, 1 failed, 2 usage, 130 Ctrl-C."""

from __future__ import annotations

import importlib
import signal
import sys
import time
from types import FrameType

from bench import facts, floors
from bench.arguments import Options, parse
from bench.cluster import Trouble
from bench.report import Report, number
from bench.stats import Summary
from clusterd.client import ClientError


def main(argv: list[str] | None = None) -> int:
    options = parse(argv)
    for one in (signal.SIGTERM, signal.SIGINT):  # SIGINT too: a shell's background job inherits it ignored
        signal.signal(one, _interrupt)
    try:
        report = Report(options.json)
    except OSError as error:
        print(f"bench: {options.json}: {error.strerror}", file=sys.stderr)
        return 2
    try:
        _run(options, report)
    except (Trouble, ClientError, OSError) as error:
        print(f"bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted; nothing is left running", file=sys.stderr)
        return 130
    finally:
        report.close()
    return 0


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: Options, report: Report) -> None:
    machine = facts.machine(options.directory)
    report.record("facts", "machine", machine)
    report.line("\n".join(f"{key:10} {value}" for key, value in machine.items()))
    _floors(options, report)
    for name in options.suites:
        began = time.monotonic()
        importlib.import_module(f"bench.suites.{name}").run(options, report)
        load = facts.machine(options.directory)["load_1m"]
        report.line(f"{name}: {time.monotonic() - began:.0f} s, load now {load:.2f}\n")


def _floors(options: Options, report: Report) -> None:
    rows = []
    for name, measure in (
        ("UDP round trip, 64 B, loopback", floors.udp_round_trip),
        ("append 1 kB and fdatasync", lambda: floors.synced_write(options.directory)),
    ):
        with report.doing(name):
            found = Summary.of(sample * 1e6 for sample in measure())
        rows.append([name, *map(number, (found.p50, found.p99, found.p999, found.most)), f"{found.count:,}"])
        report.record(
            "floors",
            name,
            {
                "samples": found.count,
                "p50_us": found.p50,
                "p99_us": found.p99,
                "p999_us": found.p999,
                "most_us": found.most,
            },
        )
    report.table("The floor of this machine, us", ["without clusterd", "p50", "p99", "p99.9", "most", "samples"], rows)


if __name__ == "__main__":
    sys.exit(main())
