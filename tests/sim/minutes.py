"""What was changed in the cluster of a run, and what its nodes made of it: written down for the checkers.

Nodes are asked by the administrator (tests/sim/admin.py), and tell here what they have in force.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from clusterd.changes import ConfigApplied, KeysChanged, Removed
from clusterd.config.schema import ClusterConfig
from clusterd.node import Node
from clusterd.reconfigure import Concluded
from tests.sim.build import Recipe
from tests.sim.checkers.changes import DONE, REFUSED, UNKNOWN, Change, InForce, Keys, Log, Notice
from tests.sim.clock import Clock
from tests.sim.texts import votes_in
from transport.exchange import RemovedNotice
from transport.ids import NodeId
from transport.peering import SILENT

if TYPE_CHECKING:
    from tests.sim.host import Host

CALL = 4.0  # seconds in which a removed node that starts must have been told
WOKEN = SILENT + 2.0  # the same for one that has sessions of before, which must first fall silent


class Minutes:
    """log: what the checkers read.  cannot: texts, each with the machine that does not have its address there.

    in_force(host, text): this comes into force there just now, by agreement or told by others.
    """

    def __init__(
        self,
        clock: Clock,
        hosts: Mapping[NodeId, Host],
        recipe: Recipe,
        say: Callable[[str], None],
        in_force: Callable[[Host, bytes], None],
    ) -> None:
        self._clock = clock
        self._hosts = hosts
        self._recipe = recipe
        self._say = say
        self._in_force = in_force
        self._asked: dict[bytes, Change] = {}
        self._unsaved: list[Change] = []  # in force; told as done when the files of the node asked are on its disk
        self.cannot: dict[bytes, NodeId] = {}
        self.log = Log(recipe.text)

    def asked(self, change_id: bytes, change: Change) -> None:
        """The node has taken it, and will conclude it by this id."""
        self._asked[change_id] = change

    def waits_for(self, text: bytes) -> bool:
        """Somebody has asked for this configuration and has no answer yet."""
        return any(change.body == text for change in (*self._asked.values(), *self._unsaved))

    def is_something_open(self) -> bool:
        """Somebody has asked for something and has no answer yet."""
        return any(not change.outcome for change in self.log.changes)

    def text_at(self, node: NodeId) -> bytes:
        """What was in force there last, as far as it was told."""
        return next(one.text for one in reversed(self.log.in_force) if one.node == node)

    def begin(self, host: Host, what: str) -> Change:
        """Something is to be changed at this node."""
        change = Change(self._clock.now, host.me, host.process_number, what)
        self.log.changes.append(change)
        return change

    def end(self, change: Change, outcome: str, why: str = "") -> None:
        """The node has answered, or cannot any more."""
        change.ended, change.outcome, change.why = self._clock.now, outcome, why
        self._say(f"administrator at node {change.node}: {change.what} {outcome} {why}".rstrip())
        if outcome == DONE and change.then is not None:
            change.then()

    # -- told by the hosts -----------------------------------------------------------------------------------

    def started(self, host: Host, node: Node) -> None:
        """A process began with the configuration and keys of its disk."""
        self._note_config(host, node, node.changes.config, started=True)
        self._note_keys(host, node)

    def heard(self, host: Host, node: Node, event: object) -> None:
        """Whatever the node on this host says."""
        match event:
            case Concluded():
                change = self._asked.pop(event.change_id, None)
                if change is not None:
                    change.generation = node.endpoint.security.current_key.generation
                    outcome = DONE if not event.reasons else UNKNOWN if event.unknown else REFUSED
                    if outcome == DONE and host.storage.is_writing():
                        self._unsaved.append(change)
                    else:
                        self.end(change, outcome, "; ".join(event.reasons))
            case ConfigApplied():
                self._note_config(host, node, event.config)
            case KeysChanged():
                self._note_keys(host, node)
            case Removed() | RemovedNotice():
                self.log.notices.append(Notice(self._clock.now, host.me, isinstance(event, Removed)))
            case _:
                pass

    def saved(self, host: Host) -> None:
        """Every small file of this host is on its disk: changes that are done are told."""
        mine = [change for change in self._unsaved if (change.node, change.process) == (host.me, host.process_number)]
        for change in mine:
            self._unsaved.remove(change)
            self.end(change, DONE)

    def ended(self, host: Host) -> None:
        """The process is gone: what it was asked and did not answer is unknown."""
        for change in [one for one in self._unsaved if (one.node, one.process) == (host.me, host.process_number)]:
            self._unsaved.remove(change)
            self.end(change, UNKNOWN, "the process is gone")
        for change_id, change in list(self._asked.items()):
            if (change.node, change.process) == (host.me, host.process_number):
                del self._asked[change_id]
                self.end(change, UNKNOWN, "the process is gone")

    def _note_config(self, host: Host, node: Node, config: ClusterConfig, started: bool = False) -> None:
        ring = node.endpoint.srp.ring_id
        if (stranded := self.cannot.pop(config.text, None)) is not None:  # agreed without it: it is given the address
            self._say(f"administrator: node {stranded} gets the address that the configuration says")
            self._recipe.given.add(stranded)
        version, text = config.config_version, config.text
        members = host.configured.members if host.configured is not None else ()
        if not started:
            self._in_force(host, text)
        self.log.in_force.append(
            InForce(self._clock.now, host.me, host.process_number, version, text, ring, started, members)
        )

    def _note_keys(self, host: Host, node: Node) -> None:
        current, live = node.endpoint.security.current_key, node.changes.live_keys
        self.log.keys.append(Keys(self._clock.now, host.me, host.process_number, current, tuple(live)))

    def finish(self, running: Mapping[NodeId, Node]) -> None:
        """The run is over."""
        for node in sorted(running):
            self._note_keys(self._hosts[node], running[node])
            config = running[node].changes.config
            self.log.final[node] = (config.config_version, config.text)
        self.log.settled = self._recipe.plan.retire_after <= 1.0
        out = [host for node, host in sorted(self._hosts.items()) if node not in running and host.process is not None]
        self.log.called = tuple(
            host.me
            for host in out
            if host.process
            and host.node is not None
            and had_time(host.process.started, host.woke_at, self._left_out_at(host.me), self._clock.now)
        )

    def _left_out_at(self, node: NodeId) -> float:
        """When the last member put a configuration without this node in force; 0.0 if none did."""
        found, before = 0.0, dict[NodeId, bytes]()
        for one in self.log.in_force:
            was = before.get(one.node, self._recipe.text)
            if node in votes_in(was) and node not in votes_in(one.text):
                found = one.at
            before[one.node] = one.text
        return found


def had_time(started: float, woke_at: float, left_out_at: float, now: float) -> bool:
    """Long enough to have called, and to have been answered? woke_at, left_out_at: 0.0 for a process that was never
    stopped, and where it was left out before it started or nobody did so."""
    silent_from = max(woke_at, left_out_at if left_out_at > started else 0.0)
    return now >= started + CALL and (not silent_from or now >= silent_from + WOKEN)
