"""A handful of Votequorum cores with an ordered network between them: rings, messages, time, no wire."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from typing import Any

from quorum.votequorum import Multicast, QuorumOptions, SavedState, SaveState, Verdict, Votequorum
from transport.core import SilentLog
from transport.ids import NodeId, RingId


def options_of(n: int, **kwargs: Any) -> QuorumOptions:
    """n nodes with one vote each unless `votes` says otherwise."""
    return QuorumOptions(votes=kwargs.pop("votes", dict.fromkeys(range(1, n + 1), 1)), **kwargs)


class World:
    """Nodes that have the same options, in rings that the test chooses."""

    def __init__(self, options: QuorumOptions, nodes: Iterable[NodeId] = ()) -> None:
        self.options = options
        self.now = 0.0
        self.seq = 0
        self.nodes: dict[NodeId, Votequorum] = {}
        self.saved: dict[NodeId, SavedState] = {}
        self.verdicts: dict[NodeId, list[Verdict]] = {}
        self.rings: dict[NodeId, tuple[NodeId, ...]] = {}
        self.queue: list[tuple[NodeId, bytes]] = []
        for node in nodes or sorted(options.votes):
            self.start(node)

    def start(self, node: NodeId, options: QuorumOptions | None = None) -> Votequorum:
        """A fresh process with what is on its disk."""
        saved = self.saved.get(node, SavedState())
        self.nodes[node] = Votequorum(node, options or self.options, saved, lambda n: f"n{n}", SilentLog())
        self.verdicts[node] = []
        self.rings[node] = ()
        self._events(node)
        return self.nodes[node]

    def ring(self, *members: NodeId, beats: bool = True) -> None:
        """These nodes form a ring and pass the barrier."""
        self.form(*members, beats=beats)
        self.activate(*members)

    def form(self, *members: NodeId, beats: bool = True) -> None:
        self.seq += 1
        for node in members:
            together = tuple(m for m in members if self.rings[m] == self.rings[node])
            self.nodes[node].sync_init(members, RingId(self.seq, members[0]), together, self.now)
            self.rings[node] = members
        if beats:
            self.beats(*members)

    def activate(self, *members: NodeId, newest: Collection[NodeId] = (), ahead: Collection[NodeId] = ()) -> None:
        """newest: who runs the configuration in force, if not all do; ahead: who runs a newer one."""
        states = {node: self.nodes[node].sync_state() for node in members}
        for node in members:
            self.nodes[node].sync_activate(states, self.now, newest, node in ahead)
            self._events(node)
        self.deliver()

    def beats(self, *members: NodeId) -> None:
        """Everybody in this ring hears everybody now."""
        for node in members:
            for peer in members:
                self.nodes[node].beat((peer,), self.now, self.now)
            self._events(node)

    def deliver(self) -> None:
        """What was multicast reaches the members of the sender's ring, in one order."""
        for node in sorted(self.nodes):
            self._events(node)
        while self.queue:
            sender, payload = self.queue.pop(0)
            for node in self.rings[sender]:
                self.nodes[node].receive(sender, payload, self.now)
                self._events(node)

    def pass_time(self, seconds: float, beating: bool = True) -> None:
        """Timers fire when they are due; rings stay in touch if `beating`."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + 0.1)
            for node, core in sorted(self.nodes.items()):
                if beating and self.rings[node]:
                    self._beat(node)
                due = core.next_timeout()
                if due is not None and self.now >= due:
                    core.handle_timeout(self.now)
                self._events(node)
            self.deliver()

    def reconfigure(self, options: QuorumOptions, *nodes: NodeId, late: bool = False) -> None:
        """The nodes apply a new configuration at one place in the order; late: which the others run already."""
        self.options = options
        for node in nodes:
            self.nodes[node].reconfigure(options, self.now, late)
        self.deliver()

    def quorate(self, node: NodeId) -> bool:
        return self.nodes[node].quorate(self.now)

    def numbers(self, node: NodeId) -> tuple[int, int, int, bool]:
        """(expected, total, quorum, quorate) as told last."""
        verdict = self.nodes[node].view().verdict
        return verdict.expected, verdict.total, verdict.quorum, verdict.quorate

    def last(self, node: NodeId) -> Verdict:
        return self.verdicts[node][-1]

    def _beat(self, node: NodeId) -> None:
        for peer in self.rings[node]:
            self.nodes[node].beat((peer,), self.now, self.now)

    def _events(self, node: NodeId) -> None:
        while (event := self.nodes[node].next_event()) is not None:
            if isinstance(event, Multicast):
                self.queue.append((node, event.payload))
            elif isinstance(event, SaveState):
                self.saved[node] = event.state
            else:
                self.verdicts[node].append(event)


def with_nodes(options: QuorumOptions, *added: NodeId, votes: int = 1) -> QuorumOptions:
    """The same options with more nodes listed."""
    return replace(options, votes={**options.votes, **dict.fromkeys(added, votes)})
