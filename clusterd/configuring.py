"""The configuration and the cluster keys of a node: what members agree on, hand over or tell, put in force here.

Each of these has a part of its own, which knows nothing of the others' cores: reconfigure.py the agreement, handover.py
who is too far behind for it, rotation.py the keys, removals.py who was removed, changes.py what is in force. Here is
what they bring about in the rest of the node: all of it at one place of the message order, inside one call, so that no
message meets a half-changed node.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Set

from cfs.replica import Replica
from clusterd.changes import Changes, ConfigApplied, KeysChanged, Removed
from clusterd.channels import CONFIG, Outbox
from clusterd.events import NodeEvent
from clusterd.handover import Handover, Tell
from clusterd.promises import Promises
from clusterd.reconfigure import Apply, Kind, Multicast, Outside, Reconfigure
from clusterd.removals import Removal, Removals, RemovalsChanged
from clusterd.rotation import Rotation
from quorum.votequorum import Votequorum
from transport.config import NodeConfig
from transport.core import Entropy, Log
from transport.endpoint import Endpoint
from transport.errors import ClusterError
from transport.events import ConfigurationChange, PeerWord, Persist
from transport.exchange import ClusterKeyLearned
from transport.ids import NodeId


class Configuring:
    """The parts are to be asked and told directly; what they say then is carried out by `pump_...`."""

    def __init__(
        self,
        me: NodeId,
        endpoint: Endpoint,
        votequorum: Votequorum,
        replica: Replica,
        changes: Changes,
        removals: Removals,
        promises: Promises,
        outbox: Outbox,
        events: deque[NodeEvent],
        entropy: Entropy,
        log: Log,
    ) -> None:
        """events: where what the shell is to hear goes, among all else that the node tells."""
        self._me = me
        self._endpoint = endpoint
        self._votequorum = votequorum
        self._replica = replica
        self._changes = changes
        self._removals = removals
        self._outbox = outbox
        self._events = events
        self._log = log
        self._members: tuple[NodeId, ...] = ()  # of the ring
        self.reconfigure = Reconfigure(
            me, lambda n: changes.config.name_of(n), changes.judge, changes.describe, promises, entropy, log
        )
        self.reconfigure.version = changes.config.config_version
        self.reconfigure.text = changes.config.text
        self.reconfigure.exclusion = changes.config.transport.totem.token
        self.handover = Handover()
        self.rotation = Rotation(changes, endpoint.security, self.reconfigure, removals)
        self.reconfigure.outside = self.rotation.outside

    # -- told by the transport -------------------------------------------------------------------------------

    def configuration(self, change: ConfigurationChange, now: float) -> None:
        """A regular configuration was installed."""
        self._members = change.members
        self.look_outside(now)
        self.reconfigure.configuration(change.members, change.ring_id)

    def look_outside(self, now: float) -> None:
        """Whom we reach, or who is in our ring, has changed."""
        self.handover.outside(self._endpoint.links.reachable() - set(self._members), now)

    def word(self, event: PeerWord, now: float) -> None:
        """A peer says something to us alone."""
        ours, least = self._changes.config, self.reconfigure.least_wanted()
        self.handover.receive(event.sender, event.payload, now, ours.config_version, ours.text, least)

    def key_learned(self, event: ClusterKeyLearned, now: float) -> None:
        """A peer handed us a cluster key."""
        name = self._changes.config.name_of(event.sender)
        self._events.append(KeysChanged(f"cluster key generation {event.generation} received from {name}"))
        self.rotation.watch(now)
        self.reconfigure.poke()

    def told_outside(self, generation: int, now: float) -> None:
        """A member says which cluster keys a removed node may hold."""
        self.rotation.told(generation, now)
        self.reconfigure.outside = self.rotation.outside

    def rotate_if_due(self, now: float) -> None:
        """An old key retires, or one that a removed node may hold is replaced, by the lowest member."""
        due = self.rotation.next_timeout()
        if due is not None and now >= due:
            listed, members = self._changes.config.transport.nodes.keys(), self._members
            first = min(members, default=0) == self._me and listed >= set(members)
            self.rotation.handle_timeout(now, ours=first and self._votequorum.quorate(now))

    # -- what the parts say ----------------------------------------------------------------------------------

    def pump_changes(self, now: float) -> bool:
        """True: there was something."""
        moved = False
        while (event := self.reconfigure.next_event()) is not None:
            moved = True
            if isinstance(event, Multicast):
                self._outbox.send(CONFIG, event.payload)
            elif isinstance(event, Apply):
                self._apply(event, now)
                self._endpoint.used()
            elif isinstance(event, Outside):
                self.told_outside(event.generation, now)
            elif isinstance(event, Persist):
                self._events.append(event)
            else:
                self.rotation.concluded(event)
                self._events.append(event)
        return moved

    def pump_handover(self, now: float) -> bool:
        """True: there was something."""
        moved = False
        while (event := self.handover.next_event()) is not None:
            moved = True
            if isinstance(event, Tell):
                self._endpoint.tell(event.peer, event.payload, now)
            else:
                self.reconfigure.handed(event.sender, event.version, event.text)
                self.pump_changes(now)
        return moved

    def pump_keys(self) -> None:
        while (event := self.rotation.next_event()) is not None:
            self._events.append(event)
            self._endpoint.used()

    # -- in force --------------------------------------------------------------------------------------------

    def _apply(self, change: Apply, now: float) -> None:
        """All members agreed: in force from this place of the order on."""
        initiator = self._changes.config.name_of(change.initiator)
        try:
            if change.kind is Kind.KEY:
                self.rotation.apply(change.body, initiator, now)
                return
            before = self._changes.config.transport.nodes
            taken = self._changes.take(change.body)
            if taken is None:
                self._events.append(Removed(initiator))
                return
            loaded, difference = taken
            self._remove_unlisted(loaded.config.transport.nodes.keys(), before, initiator, now)
            self.reconfigure.version, self.reconfigure.text = loaded.config.config_version, loaded.config.text
            self.reconfigure.exclusion = loaded.config.transport.totem.token
            self._endpoint.reconfigure(loaded.config.transport, loaded.resolve, now)
            self._votequorum.reconfigure(loaded.config.quorum, now, change.late)
            self._replica.set_nodes(loaded.config.votes, now)
            self._events.append(ConfigApplied(loaded.config, difference, initiator))
            self.rotation.watch(now)  # a key that who was removed never saw: last of all (DESIGN 6)
        except ClusterError as error:
            self._log.error(f"a change agreed by all members cannot be taken here: {error}")

    def _remove_unlisted(
        self, listed: Set[NodeId], before: Mapping[NodeId, NodeConfig], initiator: str, now: float
    ) -> None:
        """Who was listed `before` and is not any more is out at once, and remembered."""
        changed = self._removals.forget(sorted(listed))
        date, newest = self._changes.date(), self._changes.live_keys[-1].generation
        for node in sorted(before.keys() - listed):
            self._endpoint.security.remove(node, date, initiator, now)
            self._removals.add(Removal(node, before[node].identity, date, newest, initiator))
            changed = True
        if changed:
            self.reconfigure.outside = self.rotation.outside
            self._events.append(RemovalsChanged(self._removals.encode()))
        if before.keys() - listed:
            self.reconfigure.tell_outside()  # the lowest member rotates: what may be outside is not alike everywhere
