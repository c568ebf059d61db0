"""The version before this one, as its users run it: its sources out of the history, started by its own command line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from clusterd.lab import layout, waiting
from tests.live.cluster import ROOT, Cluster, deadline, no_progress

COMMIT = "b50a263b0e37221b302b762873974644ab4e1a14"
"""What is out there: a state directory, a configuration and a client of it must work with this version, and a ring of
both keeps quorum. Whoever releases a version moves this on to it."""

MARK = "of the version before"
"""What its daemons say instead of their version. No other sources have it, so who says it runs these."""

Row = dict[str, Any]


class Former:
    """The sources of COMMIT in a directory of their own, run with this interpreter and its libraries."""

    def __init__(self, directory: Path) -> None:
        """Raises LookupError where the history of this checkout does not have them."""
        command = ["git", "archive", "--format=tar", COMMIT]
        try:
            done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
        except OSError as error:
            raise LookupError(f"no git here: {error}") from error
        if done.returncode:
            raise LookupError(done.stderr.decode(errors="replace").strip())
        subprocess.run(["tar", "-x", "-C", str(directory)], input=done.stdout, check=True)
        self.directory = directory
        package = directory / "clusterd" / "__init__.py"
        text, marked = re.subn(r'(?m)^__version__ = ".*"$', f'__version__ = "{MARK}"', package.read_text())
        assert marked == 1, text
        package.write_text(text)

    def clusterctl(self, *words: str, stdin: bytes = b"") -> tuple[int, Row, str]:
        """Its command line with --json: (exit status, the object, stderr)."""
        command = [sys.executable, "-m", "clusterd.cli.main", *words, "--json"]
        environment = {**os.environ, "PYTHONPATH": str(self.directory)}
        done = subprocess.run(
            command, cwd=self.directory, env=environment, input=stdin, capture_output=True, timeout=60, check=False
        )
        text = done.stdout.decode()
        return done.returncode, json.loads(text) if text.strip() else {}, done.stderr.decode()

    def up(self, name: str, directory: Path, *settings: str) -> Cluster:
        """Three daemons of it, which are one cluster. A token of 3 s: a busy machine must not cost the ring."""
        options = [f"--set={one}" for one in ("system.sched_rr=no", "totem.token=3000", *settings)]
        self._lab(name, "up", "3", f"--dir={directory}", *options)
        lab = layout.load(name)
        assert lab is not None
        cluster = Cluster(name, lab)
        waiting.whole(lab, deadline(40.0), no_progress())
        assert [self.runs(cluster, node) for node in lab.ids] == [True, True, True]
        return cluster

    def start(self, cluster: Cluster, node: int) -> None:
        """A daemon of it on the state that is there."""
        self._lab(cluster.name, "start", str(node))
        assert self.runs(cluster, node)

    def runs(self, cluster: Cluster, node: int) -> bool:
        """Is the daemon of this node one of it? By its own word, and by where it was told to import from."""
        said = cluster.status(node)["node"]
        environment = Path(f"/proc/{said['pid']}/environ").read_bytes().split(b"\0")
        path = next(entry for entry in environment if entry.startswith(b"PYTHONPATH="))
        told = path.removeprefix(b"PYTHONPATH=").split(b":")[0] == str(self.directory).encode()
        assert told == (said["version"] == MARK), (path, said)
        return told

    def _lab(self, name: str, *words: str) -> None:
        status, _, stderr = self.clusterctl("--lab", name, "lab", *words)
        assert status == 0, stderr
