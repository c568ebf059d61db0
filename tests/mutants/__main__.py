"""Is each promise's checker awake? python -m tests.mutants [NAME...] [--known | --control | --all-seeds] [--refresh]

Every mutant (or those named) is run over its range of seeds until one catches it, and that seed without the mutant,
which must hold. --known: the seed known to catch it first, and the range only if it does not. --control: these same
seeds, and nothing is changed: all must hold. --all-seeds: go on to the end of the range. --refresh: write the seeds
found to tests/mutants/known.txt. Exit 0 only if none survives.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.mutants import runs


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.mutants", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="of mutants (default: all)")
    parser.add_argument("--known", action="store_true", help="begin with the seed known to catch each")
    parser.add_argument("--control", action="store_true", help="run the known seeds without any mutant: all must hold")
    parser.add_argument("--all-seeds", action="store_true", help="run the whole range of each")
    parser.add_argument("--refresh", action="store_true", help="write the seeds found to known.txt")
    parser.add_argument("--list", action="store_true", help="only say what there is, as docs/simulator.md does")
    parser.add_argument("--text", action="store_true", help="print what was found broken")
    parser.add_argument("--no-controls", action="store_true", help="do not run the seeds found without their mutants")
    asked = parser.parse_args(arguments)
    every = runs.mutants()
    strangers = sorted(set(asked.names) - {mutant.name for mutant in every})
    if strangers:
        parser.error(f"no such mutants: {', '.join(strangers)}")
    chosen = [mutant for mutant in every if not asked.names or mutant.name in asked.names]
    if asked.list:
        for mutant in chosen:
            print(runs.row(mutant))
        return 0
    started = time.monotonic()
    if asked.control:
        broken = [(name, text) for name, text in runs.controls_of(chosen) if text]
        for name, text in broken:
            print(f"{name:40}FAILED without the mutant: {text.splitlines()[0][:200]}", flush=True)
        seconds = time.monotonic() - started
        print(f"controls: {len(chosen) - len(broken)} of {len(chosen)} hold without a mutant, {seconds:.0f} s")
        return 1 if broken else 0
    outcomes: list[runs.Outcome] = []
    for outcome in runs.run_all(
        chosen, asked.known, asked.all_seeds, controls=not asked.known and not asked.no_controls
    ):
        outcomes.append(outcome)
        if asked.refresh:
            runs.write_known([outcome])
        print(outcome, flush=True)
        if asked.text and outcome.text:
            print(f"    {outcome.text.splitlines()[0][:200]}", flush=True)
    caught = sum(outcome.ok for outcome in outcomes)
    bad = [outcome.name for outcome in outcomes if not outcome.ok]
    tried = sum(outcome.tried for outcome in outcomes)
    print(f"mutants: {caught} of {len(outcomes)} caught, {tried} seeds in {time.monotonic() - started:.0f} s", end="")
    print(f"; not: {', '.join(bad)}" if bad else "")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
