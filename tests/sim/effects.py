"""What the faults of a run really did, by name: a fault that finds nothing to spoil proves nothing.

Over many runs none of these may stay zero (tests/sim/asked.py): then a fault is no longer drawn, or has lost its bite.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.sim import actions
from tests.sim.asked import is_asked

KEY = "fault: "  # before each name among the counts of a run

# The network: packets that befell this, wherever it came from.
PACKETS = ("lost", "reordered", "duplicated", "corrupted", "truncated")
# Faults of tests/sim/troubles.py that changed what they are about: a path that swallowed a packet while it was cut, a
# process that died, a request that the disk refused, a store that was found damaged.
FAULTS = (
    "partition",
    "partial",
    "one-way",
    "asymmetric",
    "link-down",
    "flap",
    "clog",
    "mtu-hole",
    "too-big",
    "noise",
    "delay",
    "address-gone",
    "kill",
    "leave",
    "pause",
    "slow-node",
    "clock-jump",
    "power",
    "blank",
    "rot",
    "rollback",
    "snapshot",
    "slow-disk",
    "disk-full",
    "disk-broken",
    "disk-hung",
    "device-cut",
    "device-down",
    "replay",
    "reflect",
    "copy",
    "forge",
    "flood",
    "other-cluster",
    "same-name",
)
# What followed from them in one place or another.
SINGLE = (
    "link 0 down with another up",
    "woken with stale timers",
    "put back with its memory",
    "writes lost before their fsync",
    "torn writes",
    "records torn inside",
    "bit flipped in memory",
    "operator overrides",
    "machines joined",
    "replayed from before a restart",
    "replayed from before a key rotation",
    "cookies asked for",
    "runs with strangers as the only trouble",
)
# What administrators came to, by the kind of the change; a node removed to come back is among the removals.
CHANGES = (*(f"{kind} done" for kind in actions.COME_TO_BE), *(f"{kind} refused" for kind in actions.MUST_NOT))
EFFECTS = (*PACKETS, *FAULTS, *SINGLE, *CHANGES)


def missing(total: Callable[[str], float], runs: int) -> list[str]:
    """What should have happened in so many new seeds and never did; total: of a count over all runs."""
    never = [name for name in EFFECTS if is_asked(name, runs) and not total(KEY + name)]
    return [f"this never happened: {name}" for name in never]


def told(total: Callable[[str], float]) -> str:
    """All of them in one line."""
    faults = ", ".join(f"{total(KEY + name):.0f} {name}" for name in EFFECTS if name not in CHANGES)
    changes = ", ".join(f"{total(KEY + name):.0f} {name}" for name in CHANGES)
    return f"faults that did something: {faults}; changes: {changes}"
