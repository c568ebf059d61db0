"""Local processes of the simulated hosts in closed process groups: they join, send, leave and die at random."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Protocol

from clusterd.node import Node
from quorum.events import Verdict
from tests.sim.checkers.groups import Changed, Got, Life, Passed, Ring, Sent
from tests.sim.clock import Clock
from transport.errors import Refused
from transport.events import ConfigurationChange
from transport.groups import GroupChange, GroupMessage, Reason
from transport.ids import NO_RING, NodeId

GROUPS = (b"alpha", b"beta", b"gamma")
PIDS = (100, 101, 102)  # few, and the same after a restart, as after a boot
SIZES = (10, 100, 100, 3000)
BEFORE_THE_BARRIER = "lease expired while the membership changes"  # the one verdict of a ring told so early
RATE = 12.0  # actions per second in the whole cluster


class Place(Protocol):
    """A host that local processes can run on."""

    process_number: int

    def now(self) -> float: ...
    def can_connect(self) -> bool: ...
    def do(self, action: Callable[[Node], None]) -> None: ...


class Processes:
    """Acts at RATE times `pace` from `start` to `stop`; hosts tell it what their nodes say."""

    def __init__(self, clock: Clock, random: Random, hosts: Mapping[NodeId, Place], pace: float = 1.0) -> None:
        self._clock = clock
        self._random = random
        self._hosts = hosts
        self._lives: dict[tuple[NodeId, int], Life] = {}
        self._rate = RATE * pace
        self.asked = 0  # how often one of them joined, sent or left
        self._stopped = False

    @property
    def lives(self) -> list[Life]:
        return list(self._lives.values())

    def start(self, at: float) -> None:
        self._clock.at(at, self._next)

    def stop(self) -> None:
        self._stopped = True

    def _next(self) -> None:
        if self._stopped:
            return
        reachable = [node for node in self._hosts if self._hosts[node].can_connect()]
        if reachable:
            self._act(self._random.choice(reachable))
        self._clock.after(self._random.expovariate(self._rate), self._next)

    def _life(self, node: NodeId) -> Life:
        number = self._hosts[node].process_number
        return self._lives.setdefault((node, number), Life(node, number))

    def _act(self, node: NodeId) -> None:
        life, random = self._life(node), self._random
        inside = sorted(life.members)
        free = [(group, pid) for group in GROUPS for pid in PIDS if (group, pid) not in life.members]
        what = random.choices(("join", "send", "leave", "die"), (2 if free else 0, 9, 0.5, 0.5))[0]
        if not inside:
            what = "join"
        group, pid = random.choice(free if what == "join" else inside)
        self.asked += 1
        payload = b"%d:" % self.asked
        payload = payload.ljust(random.choice(SIZES), b".")
        host = self._hosts[node]

        def action(running: Node) -> None:
            groups = running.groups
            try:
                if what == "join":
                    groups.join(group, pid)
                    life.members.add((group, pid))
                    life.asked.add((group, pid))
                elif what == "send":
                    groups.mcast(group, pid, payload)
                    life.events.append(Sent(self._clock.now, group, pid, payload))
                else:
                    groups.leave(group, pid, Reason.PROCDOWN if what == "die" else Reason.LEAVE)
                    life.members.discard((group, pid))
            except Refused:
                return
            running.pump(host.now())

        host.do(action)

    # -- told by the hosts -----------------------------------------------------------------------------------

    def heard(self, node: NodeId, event: object) -> None:
        """Whatever the node on this host says; groups and what orders them is kept."""
        now = self._clock.now
        match event:
            case ConfigurationChange() if event.regular:
                self._life(node).events.append(Ring(now, event.ring_id, event.transitional_members))
            case Verdict() if event.ring_id != NO_RING and not event.reason.startswith(BEFORE_THE_BARRIER):
                self._life(node).events.append(Passed(now, event.ring_id))
            case GroupChange():
                self._life(node).events.append(Changed(now, event))
            case GroupMessage():
                self._life(node).events.append(Got(now, event.group, event.sender, event.payload))
            case _:
                pass

    def put_back(self, node: NodeId, number: int, made: float) -> None:
        """This life goes on from a snapshot with its memory that was made then."""
        self._lives.setdefault((node, number), Life(node, number)).pasts.append((made, self._clock.now))

    def ended(self, node: NodeId) -> None:
        """The daemon on this host is gone, and its local members have lost it."""
        self._life(node).ended = True
