"""Five real daemons with networks of their own under everything at once, judged by the simulator's checkers (part 1).

The torture's own program with a fixed seed: `make torture` is the same for longer, with other seeds.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.live.cluster import ROOT
from tests.torture import wired

pytestmark = [pytest.mark.live, pytest.mark.alone, pytest.mark.timeout(600)]
SEED = 0x0B5E55
SECONDS = 120.0


def leftovers(pid: int) -> list[str]:
    """Namespaces, mounts and directories of that run."""
    name = f"{wired.PREFIX}-{pid}-"
    spaces = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout.split()
    mounts = Path("/proc/mounts").read_text().split()
    directories = [str(path) for path in Path("/var/tmp").glob(f"{name}*")]
    return [word for word in (*spaces, *mounts, *directories) if name in word]


def test_five_daemons_under_everything_keep_every_promise() -> None:
    """DESIGN 4, on real processes: S1 to S5, Q1, Q4, L1, watches, exactly-once. Nothing is left behind."""
    reason = wired.why_not_wired()
    if os.geteuid() != 0:
        pytest.skip("network namespaces, mounts and nft need root")
    assert not reason, f"this is root, so it must run here: {reason}"
    words = ["--wired", "--minutes", f"{SECONDS / 60:g}", "--seed", f"{SEED:x}", "--nodes", "5"]
    command = [sys.executable, "-m", "tests.torture", *words]
    run = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        told, _ = run.communicate()
    except BaseException:
        run.send_signal(signal.SIGINT)  # it cleans up
        run.wait()
        raise
    print(told)
    assert run.returncode == 0, told.splitlines()[-3:]
    assert leftovers(run.pid) == []
