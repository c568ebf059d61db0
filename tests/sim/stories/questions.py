"""What a story may ask of its cluster: each answer is a plain value, for `assert`."""

from __future__ import annotations

from clusterd.node import Node
from tests.sim.history import Call, Told
from tests.sim.host import Host
from tests.sim.stories.stage import Stage
from transport.ids import NodeId, RingId


class Questions:
    """Of the nodes that run; a Violation where one is asked that does not run and only its process could tell."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def ring(self, node: NodeId) -> set[NodeId]:
        """The members of the ring the node is in; none while it gathers or recovers."""
        srp = self._running(node).endpoint.srp
        return set(srp.members) if srp.phase == "operational" else set()

    def ring_id(self, node: NodeId) -> RingId:
        """Of the ring it installed last: another one each time a ring is formed."""
        return self._running(node).endpoint.srp.ring_id

    def rings(self) -> list[set[NodeId]]:
        """All rings there are now."""
        found = {(r.endpoint.srp.ring_id, tuple(sorted(self.ring(r.me)))) for h in self._up() if (r := h.node)}
        return [set(members) for _, members in sorted(found)]

    def quorate(self) -> set[NodeId]:
        """Who says "quorate" to a client now."""
        return {host.me for host in self._up() if (answer := host.socket.answer()) is not None and answer.quorate}

    def verdict(self, node: NodeId) -> str:
        """Why, in the words of `clusterctl quorum`."""
        process = self._host(node).process
        told = [event.verdict for event in process.events if isinstance(event, Told)] if process is not None else []
        return told[-1].reason if told else ""

    def writable(self, node: NodeId) -> bool:
        return self._running(node).replica.status().writable

    def why_read_only(self, node: NodeId) -> str:
        """What stands behind `Read-only:` in `clusterctl status`."""
        running = self._host(node).node
        return running.replica.status().reason if running is not None else "it does not run"

    def kind(self, node: NodeId) -> str | None:
        """Of the open primary: majority, narrow; None: none is open."""
        return self._running(node).replica.status().kind

    def held_only_by(self, node: NodeId) -> set[NodeId]:
        """`Narrow: held only by` in `clusterctl status`."""
        return set(self._running(node).replica.status().held_only_by)

    def state(self, node: NodeId) -> str:
        """`Store:` in `clusterctl status`: synced, syncing, damaged, disk_error."""
        return self._running(node).replica.status().state

    def generation(self, node: NodeId) -> int:
        """Which cluster key it uses: 1 is the first."""
        return self._running(node).endpoint.security.current_key.generation

    def told_removed(self, node: NodeId) -> bool:
        """Has this node heard that it was taken out of the cluster?"""
        return any(notice.node == node for notice in self.stage.minutes.log.notices)

    def data_set(self, node: NodeId) -> set[NodeId]:
        """Who holds data with a vote, as `node` has it."""
        return set(self._running(node).replica.status().data_set)

    def revision(self, node: NodeId) -> int:
        return self._running(node).replica.status().revision

    def leader(self, node: NodeId) -> NodeId | None:
        """Whose log leads in the node's present configuration, as it chose."""
        choice = self._running(node).replica._primary.choice
        return choice.leader if choice is not None else None

    def shown(self, call: Call) -> set[NodeId]:
        """Where a client that reads the node's own copy finds what was written by `call`."""
        found = set()
        for host in self._up():
            assert host.node is not None
            entry = host.node.replica.state.find(call.key) if host.node.replica.readable() else None
            if entry is not None and entry.data == call.value:
                found.add(host.me)
        return found

    def on_disk(self, call: Call) -> set[NodeId]:
        """Whose disks hold the operation now, running or not."""
        return {node for node, host in self.stage.hosts.items() if host.storage.holds(call.id)}

    def set_aside(self, call: Call) -> set[NodeId]:
        """Who lists the operation under `clusterctl fs discarded`."""
        return {node for node, host in self.stage.hosts.items() if call.id in host.storage.discarded()}

    def _host(self, node: NodeId) -> Host:
        return self.stage.hosts[node]

    def _up(self) -> list[Host]:
        return [host for host in self.stage.hosts.values() if host.up]

    def _running(self, node: NodeId) -> Node:
        running = self._host(node).node
        if running is None:
            raise self.stage.fail(f"node {node} does not run")
        return running

    def __str__(self) -> str:
        """How all nodes stand, for who reads a failure."""
        parts = []
        for host in self._up():
            assert host.node is not None
            srp, status = host.node.endpoint.srp, host.node.replica.status()
            store = "writable" if status.writable else status.reason
            parts.append(f"n{host.me}: {srp.phase} {srp.ring_id} {list(srp.members)}, {status.state}, {store}")
        return "; ".join(parts) or "nobody runs"
