"""From how many runs on something must have happened in one of them: that depends on how often it does.

What chance alone would leave out now and then must not fail a session. So each name has the share of seeds that come
to it, and is asked for once so many seeds were run that chance leaves it out less than once in a million sessions: all
of them together, some hundred, less than once in ten thousand.
"""

from __future__ import annotations

from math import ceil, log

CHANCE = 1e-6  # that one of them is missing by chance, as soon as it is asked for
LEAST = 150  # seeds, before anything is asked for
# Of each that less than a tenth of all seeds come to, the share that does: counted over 5,741 seeds, rounded down.
# Whoever makes something rarer enters it here, and what a session of `make test` is not asked for needs a longer one.
SHARES = {
    "reshape done": 0.001,
    "torn writes": 0.003,
    "replayed from before a key rotation": 0.004,
    "set-votes done": 0.006,
    "set-expected done": 0.006,
    "put back with its memory": 0.009,
    "rollback": 0.014,
    "cancel-wait done": 0.015,
    "operator overrides": 0.018,
    "records torn inside": 0.02,
    "link-remove done": 0.02,
    "votes done": 0.02,
    "S5": 0.022,
    "replayed from before a restart": 0.025,
    "link-add done": 0.028,
    "L3": 0.028,
    "device-down": 0.03,
    "device-cut": 0.034,
    "X1": 0.035,
    "runs with strangers as the only trouble": 0.038,
    "expected done": 0.04,
    "option done": 0.04,
    "writes lost before their fsync": 0.04,
    "address done": 0.04,
    "removals": 0.043,
    "bit flipped in memory": 0.045,
    "disk-broken": 0.048,
    "other-cluster": 0.05,
    "rot": 0.055,
    "same-name": 0.055,
    "remove done": 0.055,
    "cookies asked for": 0.062,
    "flood": 0.065,
    "reflect": 0.065,
    "copy": 0.065,
    "forge": 0.065,
    "replay": 0.065,
    "link 0 down with another up": 0.066,
    "L2": 0.068,
    "disk-hung": 0.075,
    "add done": 0.08,
}


def asked_from(name: str) -> int:
    """How many seeds must have been run for it to be asked for."""
    share = SHARES.get(name)
    return LEAST if share is None else max(LEAST, ceil(log(CHANCE) / log(1 - share)))


def is_asked(name: str, runs: int) -> bool:
    """runs: of seeds; a stored plan has the chance of none."""
    return runs >= asked_from(name)
