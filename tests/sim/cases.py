"""What to run: a seed, or a plan that is kept as a file; and which ones come first.

Whoever says "no failure" means: none among the plans of tests/sim/found, the seeds of seeds.txt, and then as many new
seeds as there was time for. Which new ones differs by commit: the same commit runs the same seeds everywhere, and no
two commits run the same.
"""

from __future__ import annotations

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.sim.plan import Plan, draw
from tests.sim.stored import load, stored_plans

ROOT = Path(__file__).resolve().parents[2]
SEEDS = Path(__file__).with_name("seeds.txt")
FIRST = 0x1000  # where any seed will do, as long as it is the same one
ROOM = 12  # bits: the seeds of one commit count up from its first seven hexadecimal digits and 000
SOURCES = ("transport", "quorum", "cfs", "clusterd", "tests/sim")


@dataclass(frozen=True, slots=True)
class Case:
    """One run to make. file: of a stored plan, instead of the seed.  nodes: instead of the seed's own number."""

    seed: int = 0
    nodes: int | None = None
    file: Path | None = None

    @property
    def name(self) -> str:
        return f"{self.seed:06x}" if self.file is None else self.file.stem

    @property
    def title(self) -> str:
        """What a report is called, "" when its seed says it."""
        return "" if self.file is None else self.file.stem

    @property
    def option(self) -> str:
        """How the command line asks for it again."""
        if self.file is not None:
            return f"--plan {self.file.relative_to(ROOT) if self.file.is_relative_to(ROOT) else self.file}"
        return (f"--nodes {self.nodes} " if self.nodes else "") + f"--seed {self.name}"

    def plan(self) -> Plan:
        """Raises NoPlan and OSError where the file is none."""
        return draw(self.seed, self.nodes)[0] if self.file is None else load(self.file).plan

    def __str__(self) -> str:
        return f"seed {self.name}" if self.file is None else f"plan {self.name}"


def seed_of(text: str) -> int:
    """A seed as people write it: hexadecimal, with 0x or without. Raises ValueError."""
    value = int(text, 16)
    if value < 0:
        raise ValueError(f"{text}: a seed is not negative")
    return value


def known() -> list[Case]:
    """Whatever failed once: the stored plans by name, then the seeds as seeds.txt has them, `SEED  what it found`."""
    lines = (line.split("#")[0].split() for line in SEEDS.read_text().splitlines())
    seeds = [Case(seed_of(words[0])) for words in lines if words]
    return [*(Case(file=file) for file in stored_plans()), *seeds]


def first_seed() -> int:
    """Where new seeds begin."""
    return int(state()[:7], 16) << ROOM


def state() -> str:
    """What names the sources: git's commit, or where there is no git a hash of the files that decide a run."""
    return commit() or _sources()


def commit() -> str:
    """The commit that is checked out, 40 hexadecimal digits; "" where git does not say."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _sources() -> str:
    made = hashlib.sha256()
    for folder in SOURCES:
        for file in sorted((ROOT / folder).rglob("*.py")):
            made.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return made.hexdigest()


def clean() -> bool:
    """Is the checkout exactly its commit? What the shrinker stores is left aside. Only where there is a commit."""
    command = ["git", "status", "--porcelain", "--", ".", ":!tests/sim/found", ":!docs/seeds-run.md"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode == 0 and not done.stdout
