"""Network namespaces for tests, as root: made under this process's own names, removed whatever happens."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.live.cluster import ROOT


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@contextmanager
def namespaces(count: int) -> Iterator[list[str]]:
    """So many, each with its loopback up."""
    names = [f"clusterd-live-{os.getpid()}-{number}" for number in range(1, count + 1)]
    try:
        for name in names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in names:
            with suppress(subprocess.CalledProcessError):
                ip("netns", "del", name)


def inside(name: str, *command: str, **how: object) -> subprocess.CompletedProcess[str]:
    """Run a command to its end in a namespace; raises when it fails."""
    words = ["ip", "netns", "exec", name, *command]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=ROOT, check=False, **how)  # type: ignore[call-overload]
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done  # type: ignore[no-any-return]


def clusterctl_inside(name: str, *words: str) -> str:
    return inside(name, sys.executable, "-m", "clusterd.cli.main", *words).stdout
