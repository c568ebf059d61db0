"""What daemons cost that have nothing to do: CPU, memory, wake-ups, disk writes."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from bench.arguments import Options
from bench.cluster import Cluster
from bench.report import Report, number
from bench.stats import median

_SETTLE = 5.0  # seconds before the first look: path MTU search, checkpoints
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of one process since its start; rss: KiB now."""

    cpu: float
    rss: int
    written: int
    switches: int

    @classmethod
    def of(cls, pid: int) -> Usage:
        """Raises OSError when it is gone."""
        base = Path(f"/proc/{pid}")
        status = _fields(base / "status")
        switches = 0
        for task in (base / "task").iterdir():
            switches += int(_fields(task / "status")["voluntary_ctxt_switches"])
        return cls(
            cpu_seconds((base / "stat").read_text(encoding="utf-8")),
            int(status["VmRSS"].split()[0]),
            int(_fields(base / "io")["write_bytes"]),
            switches,
        )


def cpu_seconds(stat: str) -> float:
    """User and system time in a line of /proc/PID/stat (proc(5)): fields 14 and 15; the name may hold anything."""
    fields = stat.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _fields(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def run(options: Options, report: Report) -> None:
    with Cluster(options.directory, options.settings) as cluster, report.doing(f"idle: {options.minutes:g} min"):
        time.sleep(_SETTLE)
        began = time.monotonic()
        before = {ident: Usage.of(cluster.pid(ident)) for ident in cluster.ids}
        time.sleep(options.minutes * 60)
        span = time.monotonic() - began
        after = {ident: Usage.of(cluster.pid(ident)) for ident in cluster.ids}
    rows = []
    for ident in sorted(after):
        was, now = before[ident], after[ident]
        cpu = (now.cpu - was.cpu) / span * 100
        wakes = (now.switches - was.switches) / span
        rows.append([f"n{ident}", f"{cpu:.2f}", number(now.rss / 1024), number(wakes), str(now.written - was.written)])
        report.record(
            "idle",
            f"n{ident}",
            {
                "seconds": span,
                "cpu_percent": cpu,
                "rss_mib": now.rss / 1024,
                "wakeups_per_s": wakes,
                "written_bytes": now.written - was.written,
            },
        )
    middle = median((after[i].cpu - before[i].cpu) / span * 100 for i in after)
    report.table(
        f"Idle for {options.minutes:g} min",
        ["daemon", "CPU % of a core", "RSS MiB", "wake-ups/s", "bytes written"],
        rows,
        f"Median CPU {middle:.2f} %. Wake-ups: voluntary context switches of all threads. Written: /proc/PID/io.",
    )
