"""Votequorum against its model over random options, memberships and operators' commands: one seed, many histories.

    python -m tests.quorum.vote_chaos [FIRST] [COUNT]

As the tests of test_model.py, drawn by a seed instead of by hypothesis: so that a change of the product can be run over
a range of seeds. Judged after each step: Q2 (every number and verdict is the model's) and, with none of the options it
leaves out, Q1 (one quorate component).
"""

from __future__ import annotations

import sys
from random import Random
from typing import Any

from quorum.options import QuorumOptions, check
from tests.quorum.test_model import DOWN, MOST, Run, add

HISTORIES = 30  # of one seed
STEPS = 12


class Broken(Exception):  # noqa: N818  the field's word
    """A promise was broken: `promise` is its name in DESIGN 4."""

    def __init__(self, promise: str, text: str) -> None:
        super().__init__(f"{promise}: {text}")
        self.promise = promise
        self.text = text


def options(random: Random, special: bool) -> QuorumOptions:
    """Any set that the product accepts, without a device; `special`: with the options that Q1 leaves out."""
    n = random.randint(1, MOST)
    heavy = random.random() < 0.3
    votes = {node: random.randint(0, 3) if heavy else 1 for node in range(1, n + 1)}
    while True:
        made: dict[str, Any] = {"votes": votes, "wait_for_all": random.choice((None, None, False, True))}
        if special:
            listed = tuple(random.sample(sorted(votes), random.randint(1, n)))
            made["auto_tie_breaker"] = random.choice(("", "", "lowest", "highest", listed))
            made["last_man_standing"] = random.random() < 0.4
            made["expected_votes_tracking"] = random.random() < 0.2
            made["two_node"] = n == 2 and random.random() < 0.6
            made["expected_votes"] = random.choice((0, 0, 0, 3, 5))
        drawn = QuorumOptions(**made)
        if not check(drawn):
            return drawn
        votes = votes if any(votes.values()) else dict.fromkeys(votes, 1)


class History:
    """One history."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.special = random.random() < 0.6
        self.grows = not self.special and random.random() < 0.5  # then the models, which know of no list, say nothing
        self.run = Run(options(random, self.special))

    def go(self) -> None:
        self.run.place([1] * MOST, True)
        for _ in range(STEPS):
            self._step()
            self._judge()

    def _step(self) -> None:
        random = self.random
        match random.choice(("place", "place", "place", "small", "interrupted", "expected", "window")):
            case "place":
                self.run.place([random.choice((DOWN, 1, 1, 2, 3)) for _ in range(MOST)], True)
            case "small":  # nodes of the largest ring go, one or two at a time, as a cluster shrinks
                where = [1 if node in self.run.up else DOWN for node in range(1, MOST + 1)]
                for node in random.sample(range(MOST), random.choice((1, 1, 2))):
                    where[node] = random.choice((DOWN, 2, 1))
                self.run.place(where, True)
            case "interrupted":
                self.run.place([random.choice((DOWN, 1, 1, 2)) for _ in range(MOST)], False)
            case "expected" if self.special:
                self.run.set_expected(random.randint(1, MOST), random.randint(1, 10))
            case "window" if not self.grows:
                self.run.window()
            case _ if self.grows:
                add(self.run, random.choice((1, 1, 2)))

    def _judge(self) -> None:
        try:
            if not self.grows:
                self.run.compare()
        except AssertionError as error:
            raise Broken("Q2", f"{self.run.world.options}: {error}") from error
        rings = self.run.quorate_rings()
        if not self.special and len(rings) > 1:
            raise Broken("Q1", f"{self.run.world.options}: {rings} are quorate at once")


def run(seed: int) -> None:
    """Raises Broken, or whatever a core raised."""
    random = Random(seed)
    for _ in range(HISTORIES):
        History(random).go()


def main() -> int:
    first, count = map(int, sys.argv[1:3]) if len(sys.argv) > 2 else (1, 20)
    failed = 0
    for seed in range(first, first + count):
        try:
            run(seed)
        except Broken as broken:
            failed += 1
            print(f"seed {seed}: {broken}", flush=True)
    print(f"{failed} of {count} runs failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
