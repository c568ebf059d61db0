"""What machine this is: a figure without it says nothing."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def machine(directory: Path) -> dict[str, str | int | float]:
    """Facts to print beside the figures. directory: where the stores are."""
    return {
        "cpu": _first("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": int(_first("/proc/meminfo", "MemTotal").split()[0]) >> 10,
        "kernel": platform.release(),
        "python": platform.python_version(),
        "disk": _filesystem(directory),
        "load_1m": os.getloadavg()[0],
        "root": os.geteuid() == 0,
    }


def _first(path: str, key: str) -> str:
    """The value of the first line `key : value` of a proc file; "0" when there is none."""
    for line in Path(path).read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == key:
            return value.strip()
    return "0"


def _filesystem(directory: Path) -> str:
    """Type and device of the file system that holds `directory`."""
    target, best, found = str(directory.resolve()), "", "unknown"
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        device, point, kind = line.split()[:3]
        inside = target == point or target.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, found = point, f"{kind} on {device}"
    return found
