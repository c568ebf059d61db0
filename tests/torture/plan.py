"""What is done to the cluster in a round and when: drawn from a seed before anything is done, so that it repeats.

Kinds are drawn from a bag without putting back, so that every kind comes before any comes too often. The plan keeps
count of the nodes that it has taken away: now and then all, else one is always left.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from random import Random

Way = tuple[int, int, int]  # from, to, link

EACH = (0.2, 2.5)  # seconds between two faults
ALL_AWAY = 0.1  # how often the last node may go as well
KINDS = {
    "kill": 4,
    "stop": 3,
    "leave": 3,
    "cut": 3,
    "one way": 2,
    "split": 3,
    "partial": 2,
    "loss": 4,
    "limit": 3,
    "disk": 2,
    "rotate": 2,
    "reload": 2,
}
"""How many of each are in the bag: SIGKILL, SIGSTOP, a clean leave, a link between two nodes, one direction of it, two
sides, two nodes that only others see both of, datagrams lost at random, a link that carries little, a full disk, a new
cluster key, a changed configuration."""
SHAPING = frozenset({"loss", "limit"})
"""Kinds that need a network of the nodes' own."""
TAKES_AWAY = frozenset({"kill", "stop", "leave", "disk"})
LOSSES = (2, 10, 30, 60)  # per cent
LIMITS = (10, 50, 200)  # kbyte a second
TOKENS = (600, 700, 900)  # milliseconds


@dataclass(frozen=True, slots=True)
class Step:
    """One fault: begun `at` seconds into the round, undone `lasts` later, if it is one that is undone.

    node: whom it is done to, or through.  ways: what is obstructed.  amount: per cent lost, kbyte a second let through,
    milliseconds of token.
    """

    at: float
    kind: str
    lasts: float = 0.0
    node: int = 0
    ways: frozenset[Way] = frozenset()
    amount: int = 0
    what: str = ""

    def __str__(self) -> str:
        amount = {"loss": f" of {self.amount} %", "limit": f" to {self.amount} kB/s", "reload": f" token {self.amount}"}
        return f"{self.kind}{amount.get(self.kind, '')}, {self.what}"


class Planner:
    """Draws rounds one after the other; the bag goes on from one to the next."""

    def __init__(self, draw: Random, nodes: list[int], links: int, kinds: frozenset[str]) -> None:
        self._draw, self._nodes, self._links = draw, nodes, links
        self._kinds = {kind: count for kind, count in KINDS.items() if kind in kinds}
        self._bag: list[str] = []
        self._away: dict[int, float] = {}  # node -> when it is back

    def seconds(self, bounds: tuple[float, float]) -> float:
        """How long the next round is to last."""
        return self._draw.uniform(*bounds)

    def round(self, seconds: float) -> list[Step]:
        """The steps of one round, in order; all nodes are back and all links whole when it begins."""
        self._away.clear()
        steps: list[Step] = []
        at = 0.0
        while (at := at + self._draw.uniform(*EACH)) < seconds:
            steps.append(self._step(at))
        return steps

    def _step(self, at: float) -> Step:
        self._away = {node: until for node, until in self._away.items() if until > at}
        if not self._bag:
            self._bag = [kind for kind, count in self._kinds.items() for _ in range(count)]
            self._draw.shuffle(self._bag)
        free = [node for node in self._nodes if node not in self._away]
        may = len(free) > 1 or (len(free) == 1 and self._draw.random() < ALL_AWAY)
        place = next((i for i, kind in enumerate(self._bag) if may or kind not in TAKES_AWAY), None)
        if place is None:  # nothing but what takes nodes away is left, and none may go now
            return self._cut(at)
        kind = self._bag.pop(place)
        if kind in TAKES_AWAY:
            return self._take_away(at, kind, self._draw.choice(free))
        return self._other(at, kind)

    def _take_away(self, at: float, kind: str, node: int) -> Step:
        draw = self._draw
        lasts = {
            "kill": lambda: draw.uniform(0.0, 6.0),
            "leave": lambda: draw.uniform(0.0, 4.0),
            "disk": lambda: draw.uniform(0.5, 6.0),
            "stop": lambda: draw.uniform(0.05, draw.choice((0.3, 1.5, 6.0))),
        }[kind]()
        self._away[node] = at + lasts
        return Step(at, kind, lasts, node, what=f"node {node}")

    def _other(self, at: float, kind: str) -> Step:
        draw, nodes = self._draw, self._nodes
        match kind:
            case "rotate":
                node = draw.choice(nodes)
                return Step(at, kind, node=node, what=f"by node {node}")
            case "reload":
                node = draw.choice(nodes)
                return Step(at, kind, node=node, amount=draw.choice(TOKENS), what=f"by node {node}")
            case "cut":
                return self._cut(at)
            case "one way":
                first, second, link = self._pair()
                return self._obstacle(at, kind, {(first, second, link)}, f"link {link} from {first} to {second}")
            case "partial":
                first, second, _ = self._pair()
                ways = {way for link in range(self._links) for way in ((first, second, link), (second, first, link))}
                return self._obstacle(at, kind, ways, f"{first} and {second}")
            case "split":
                side = set(draw.sample(nodes, draw.randrange(1, len(nodes))))
                ways = {(a, b, k) for a, b, k in self._all_ways() if (a in side) != (b in side)}
                return self._obstacle(at, kind, ways, f"{sorted(side)} from the others")
            case "loss":
                link, node = draw.randrange(self._links), draw.choice((0, *nodes))  # 0: everywhere on that link
                ways = {(a, b, k) for a, b, k in self._all_ways() if k == link and node in (0, a, b)}
                text = f"link {link} of {f'node {node}' if node else 'all'}"
                return self._obstacle(at, kind, ways, text, draw.choice(LOSSES))
        assert kind == "limit", kind
        link, node = draw.randrange(self._links), draw.choice(nodes)
        ways = {(a, b, k) for a, b, k in self._all_ways() if k == link and b == node}
        return self._obstacle(at, kind, ways, f"link {link} into node {node}", draw.choice(LIMITS))

    def _cut(self, at: float) -> Step:
        first, second, link = self._pair()
        ways = {(first, second, link), (second, first, link)}
        return self._obstacle(at, "cut", ways, f"link {link} of {first} and {second}")

    def _obstacle(self, at: float, kind: str, ways: set[Way], what: str, amount: int = 0) -> Step:
        return Step(at, kind, self._draw.uniform(0.2, 6.0), ways=frozenset(ways), amount=amount, what=what)

    def _pair(self) -> tuple[int, int, int]:
        first, second = self._draw.sample(self._nodes, 2)
        return first, second, self._draw.randrange(self._links)

    def _all_ways(self) -> list[Way]:
        nodes, links = self._nodes, range(self._links)
        return [(a, b, k) for a in nodes for b in nodes for k in links if a != b]


def count(steps: list[Step]) -> Counter[str]:
    return Counter(step.kind for step in steps)
