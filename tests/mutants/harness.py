"""What runs one seed and says whether a promise was broken: whole nodes, the ring alone, or the store alone.

Imports the product only when asked to run, after a mutant was applied.
"""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import NamedTuple

from tests.mutants.mutant import Mutant

HANG = 120.0  # seconds of CPU after which a seed counts as one that never ends; the slowest takes a tenth
NO_EXCEPTION = "no exception"
NOT_WITHIN = "AssertionError: not within"  # how tests/transport/totem/net.py says that nodes do not come to rest
# What the checks of tests/cfs/cluster.py say, and the promise each stands for; the first that is in the sentence.
STORE_PROMISES = {
    "acknowledged write lost": "S1",
    "acknowledged, ": "S1",
    "claims index": "S1",
    "barrier at": "S2",
    "reads went back": "S2",
    "out of order": "S2",
    "an outcome nobody waits for": "S3",
    "outcome after": "S3",
    "refused, yet done": "S3",
    "applied at": "S3",
    "acknowledged as": "S3",
    "another record": "S4",
    "another tree": "S4",
    "trees differ": "S4",
    "not settled": "L1",
    "writes after the faults": "L1",
}


class Verdict(NamedTuple):
    """promise: the one that was broken, empty when all held; text: the sentence.  seconds: of CPU."""

    promise: str
    text: str
    seconds: float


class Hangs(Exception):  # noqa: N818
    """The run does not come to an end."""


def _hangs(number: int, frame: FrameType | None) -> None:
    raise Hangs(f"still busy after {HANG:.0f} s")


def wanted(mutant: Mutant, seed: int) -> bool:
    """Is this seed one that counts for the mutant?"""
    if mutant.where is None:
        return True
    from tests.sim.plan import draw

    return mutant.where(draw(seed, mutant.nodes)[0])


def run(mutant: Mutant, seed: int) -> Verdict:
    """One seed, in this process."""
    started = time.process_time()
    signal.signal(signal.SIGVTALRM, _hangs)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG)
    try:
        promise, text = _run(mutant, seed)
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0.0)
    return Verdict(promise, text, time.process_time() - started)


def _run(mutant: Mutant, seed: int) -> tuple[str, str]:
    harness, _, rest = mutant.harness.partition(":")
    if harness == "sim":
        return _sim(mutant, seed)
    if harness == "ring":
        return _ring(seed)
    if harness == "store":
        return _store(seed, rest)
    raise ValueError(f"{mutant.name}: no harness {mutant.harness}")


def _sim(mutant: Mutant, seed: int) -> tuple[str, str]:
    from tests.sim.cluster import run_seed

    failure = run_seed(seed, mutant.nodes).failure
    return ("", "") if failure is None else (failure.promise, failure.text)


def _ring(seed: int) -> tuple[str, str]:
    from tests.transport.totem import chaos, evs

    try:
        chaos.run(seed)
    except evs.Violation as violation:
        promise, _, text = str(violation).partition(": ")
        return promise, text
    except Exception as error:  # whatever a node raises is a failure of its own: no input may make it
        text = f"{type(error).__name__}: {error}"
        return ("L1" if NOT_WITHIN in text else NO_EXCEPTION), text
    return "", ""


def _store(seed: int, profile: str) -> tuple[str, str]:
    from tests.cfs import swarm
    from tests.cfs.cluster import Broken

    try:
        swarm.run(seed, profile)
    except Broken as broken:
        text = str(broken)
        return next((promise for words, promise in STORE_PROMISES.items() if words in text), "S"), text
    except Exception as error:  # as above
        return NO_EXCEPTION, f"{type(error).__name__}: {error}"
    return "", ""
