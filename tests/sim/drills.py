"""Single troubles in a calm cluster, once all else of a run is over: what L2 to L4 promise is about these.

Among the faults of a run there are hardly any that nothing else disturbs. So some runs go on a little: a node is
killed, leaves, or stands still, or the network falls into two parts, or takes some odd shape, and stays so; each with
nothing else going on long before and after. Carried out as faults are, judged with them by the checkers of L2 to L4.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.sim.aspects import aspect
from tests.sim.checkers.calm import Tempo
from tests.sim.troubles import Fault
from transport.ids import NodeId

OFTEN = 0.35  # of the runs that may have one
KINDS = {"short pause": 3, "kill": 3, "leave": 3, "long pause": 1, "split": 2, "odd network": 4}
FIRST = 200  # the number of the first fault of a drill


def draw(seed: int, nodes: Sequence[NodeId], tempo: Tempo, start: float) -> tuple[Fault, ...]:
    """One or two troubles from `start` on; mostly none, and never where the network loses packets by itself."""
    random = aspect(seed, "drills")
    if len(nodes) < 2 or not tempo.lossless or random.random() >= OFTEN:
        return ()
    found: list[Fault] = []
    at = start + random.uniform(0.1, 0.3)
    for kind in random.choices(list(KINDS), list(KINDS.values()), k=random.choice((1, 1, 2))):
        node = random.choice(nodes)
        number = FIRST + len(found)
        match kind:
            case "short pause":
                until = at + tempo.harmless_pause * random.uniform(0.3, 0.95)
                found.append(Fault("pause", at, until, (node,), number=number))
            case "long pause":
                until = at + tempo.token * random.uniform(1.3, 2.0)
                found.append(Fault("pause", at, until, (node,), number=number))
            case "kill":
                until = at + tempo.detected + 0.2
                found.append(Fault("kill", at, until, (node,), number=number))
            case "leave":
                until = at + 0.5
                found.append(Fault("leave", at, until, (node,), number=number))
            case "odd network":
                until = at + tempo.shaped + random.uniform(0.8, 1.5)
                other, third = (random.sample([n for n in nodes if n != node], len(nodes) - 1) * 2)[:2]
                cut = random.choice(("partial", "partial", "one-way"))
                found.append(Fault(cut, at, until, (node,), (other,), number=number))
                if len(nodes) > 2 and random.random() < 0.6:
                    found.append(Fault("partial", at, until, (other,), (third,), number=number + 1))
            case _:
                until = at + tempo.shaped + random.uniform(0.8, 1.5)
                side = random.sample(nodes, random.randint(1, len(nodes) - 1))
                rest = tuple(n for n in nodes if n not in side)
                found.append(Fault("partition", at, until, tuple(sorted(side)), rest, number=number))
        at = until + tempo.settled + 0.3
    return tuple(found)


def end(drills: Sequence[Fault], tempo: Tempo) -> float:
    """When all has settled again."""
    return max(fault.until for fault in drills) + tempo.settled
