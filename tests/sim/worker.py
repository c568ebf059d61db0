"""One process of a sweep, as nice as it is told: reads cases, one a line, runs each and answers with a line of JSON.

A case is `seed 001004`, `seed 001004 5` (with 5 nodes) or `plan FILE`. What a run prints goes to stderr. The address
space is bounded, so that a run that eats memory ends as a failure of its own and not of the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from pathlib import Path

from tests.sim.cases import Case, seed_of
from tests.sim.guard import at_most
from tests.sim.run import run_plan
from tests.sim.runs import to_line

MEMORY = 3 << 30  # bytes of address space; a run of 32 nodes keeps 0.2 GiB


def case_line(case: Case) -> str:
    """What `case_of` reads."""
    if case.file is not None:
        return f"plan {case.file}"
    return f"seed {case.name}" + (f" {case.nodes}" if case.nodes else "")


def case_of(line: str) -> Case:
    kind, _, rest = line.strip().partition(" ")
    if kind == "plan":
        return Case(file=Path(rest))
    seed, _, nodes = rest.partition(" ")
    return Case(seed_of(seed), int(nodes) if nodes else None)


def main() -> None:
    os.nice(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "w")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            case = case_of(line)
            with at_most():
                report = run_plan(case.plan(), title=case.title)
            answers.write(json.dumps(to_line(report)) + "\n")
            answers.flush()


if __name__ == "__main__":
    main()
