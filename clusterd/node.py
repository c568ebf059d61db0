"""One whole node without I/O: the way of a message, from datagram to store and back.

datagrams -> endpoint (security, links, ring) -> here, by channel -> { barrier | quorum | store | groups | config }
-> events for the shell. Going down: a proposal -> submit -> multicast at our token visit -> delivered to us as to all;
only what comes back answers the caller (DESIGN section 3). The daemon and the simulator drive this same object.

Rules kept here and nowhere else:
- the verdict's lease is judged before anything else at every input (Q4);
- a verdict is told after the membership it is about and before any message of that configuration (Q3): messages of
  all channels but the barrier's and the store's wait until the barrier is passed;
- the store hears of quorum only from here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence, Set

from cfs.messages import Operation
from cfs.replica import Replica
from cfs.status import Claim, StatusChanged
from cfs.status import Event as StoreEvent
from cfs.status import Multicast as StoreMulticast
from clusterd.changes import Changes, ConfigApplied, KeysChanged, Removed
from clusterd.handover import Handover, Tell
from clusterd.past import Past, WentBack
from clusterd.promises import Promises
from clusterd.reconfigure import Apply, Concluded, Kind, Outside, Reconfigure
from clusterd.reconfigure import Multicast as ConfigMulticast
from clusterd.removals import Removal, Removals, RemovalsChanged
from clusterd.rotation import Rotation
from quorum.reasons import turned_away
from quorum.votequorum import Multicast as QuorumMulticast
from quorum.votequorum import SaveState, Verdict, Votequorum
from transport.config import NodeConfig
from transport.core import Entropy, Log, earliest
from transport.endpoint import Endpoint, Transmit
from transport.endpoint import Told as TransportTold
from transport.errors import ClusterError, NoQuorum, QueueFull, Refused
from transport.events import Beat, ConfigurationChange, Delivery, PathChange, PeerWord, Persist, Progress, Recalled
from transport.exchange import ClusterKeyLearned, RemovedNotice
from transport.groups import GroupChange, GroupMessage, Groups
from transport.groups import Multicast as GroupMulticast
from transport.ids import LinkId, NodeId
from transport.link.events import Address
from transport.sync import Sync, Synchronised

SYNC, QUORUM, STORE, GROUPS, CONFIG = 1, 2, 3, 4, 5
"""Channels: the first byte of every message on the ring."""
GOODBYE_WAIT = 0.2
"""Seconds that a clean leave waits for its last ordered message to be sent; under allow_downscale, to be had by all."""
OUTCOMES_WAIT = 0.05
"""Seconds that it waits for the outcomes of writes under way: they take milliseconds, a leave less than 0.1 s."""
DISK_PATIENCE = 2.0
"""Seconds after the start until a node whose disk has not answered says why nobody hears of it."""

NodeEvent = (
    StoreEvent
    | SaveState
    | Verdict
    | Persist
    | ConfigurationChange
    | PathChange
    | GroupChange
    | GroupMessage
    | ConfigApplied
    | KeysChanged
    | Removed
    | RemovalsChanged
    | RemovedNotice
    | Concluded
    | WentBack
)
"""What the shell sees: disk requests and outcomes of the store, files to write, and what subscribers are told."""


class Node:
    """The cores of one node and the arrows between them."""

    def __init__(
        self,
        me: NodeId,
        endpoint: Endpoint,
        votequorum: Votequorum,
        replica: Replica,
        changes: Changes,
        removals: Removals,
        promises: Promises,
        entropy: Entropy,
        log: Log,
    ) -> None:
        self.me = me
        self.endpoint = endpoint
        self.votequorum = votequorum
        self.replica = replica
        self.changes = changes
        self.reconfigure = Reconfigure(
            me, lambda n: changes.config.name_of(n), changes.judge, changes.describe, promises, entropy, log
        )
        self.reconfigure.version = changes.config.config_version
        self.reconfigure.text = changes.config.text
        self.reconfigure.exclusion = changes.config.transport.totem.token
        self.removals = removals
        self.handover = Handover()
        self.past = Past(me)
        self.rotation = Rotation(changes, endpoint.security, self.reconfigure, removals)
        self.reconfigure.outside = self.rotation.outside
        self.groups = Groups(me, log)
        self.sync = Sync(me, {"groups": self.groups, "quorum": votequorum, "config": self.reconfigure}, log)
        self.configuration: ConfigurationChange | None = None
        """The regular configuration installed last."""
        self.left = False
        """A clean leave was sent: the process may end."""
        self.unknown_channel = 0
        self._log = log
        self._events: deque[NodeEvent] = deque()
        self._unsent: deque[tuple[bytes, bool]] = deque()  # our services' messages that the ring had no room for
        self._goodbye_at: float | None = None
        self._due: float | None = None  # the next timeout of all but the endpoint, while `_due_known`
        self._due_known = False  # nothing was put into any of them since
        self._lapsed = False  # the verdict was judged since the last `_pump`, and others may have heard of it
        self._outcomes_until: float | None = None
        self._disk_late_at: float | None = None  # when to say that we wait for it, with the others not hearing of us
        self._farewell = False  # we leave, and our votes go only if the others hear so in order

    def start(self, now: float) -> None:
        self.rotation.watch(now)
        self._disk_late_at = now + DISK_PATIENCE
        self.endpoint.start(now)
        self._pump(now)

    # -- in --------------------------------------------------------------------------------------------------

    def receive(self, datagrams: Sequence[tuple[LinkId, Address, bytes]], now: float) -> None:
        """All datagrams of one wake-up."""
        self._check_lease(now)
        self.endpoint.receive(datagrams, now)
        self._go_on(now)

    def _go_on(self, now: float) -> None:
        """The endpoint was given something, and nobody else was: most often it concerned the links alone."""
        events, votequorum = self.endpoint.events, self.votequorum
        # What most pongs bring. A beat concerns quorum alone; to a yes it gives more time, and no deadline changes.
        while events and votequorum.told_yes and isinstance(beat := events[0], Beat):
            events.popleft()
            self._beat(beat, now)
        if events or self._unsent or self._lapsed or self._goodbye_at is not None:
            self._pump(now)

    def refused(self, link: LinkId, address: Address, reason: str, sure: bool, now: float) -> None:
        """See Endpoint.refused."""
        self._check_lease(now)
        self.endpoint.refused(link, address, reason, sure, now)
        self._pump(now)

    def too_big(self, link: LinkId, address: Address, size: int, sure: bool, now: float) -> None:
        """See Endpoint.too_big."""
        self._check_lease(now)
        self.endpoint.too_big(link, address, size, sure, now)
        self._pump(now)

    def set_local(self, link: LinkId, reason: str | None, now: float) -> None:
        """See Endpoint.set_local."""
        self._check_lease(now)
        self.endpoint.set_local(link, reason, now)
        self._pump(now)

    def file_written(self, receipt: int, now: float) -> None:
        """The file of a Persist event is on disk."""
        self._check_lease(now)
        waited = not self.endpoint.running
        self.reconfigure.saved(receipt)
        self.endpoint.persisted(receipt, now)
        if waited and self.endpoint.running:
            if self._disk_late_at is None:
                self._log.info("the disk has answered: looking for the other nodes")
            self._disk_late_at = None
        self._pump(now)

    def disk_answered(self, answers: Sequence[tuple[int, str | None]], now: float) -> None:
        """Disk requests of the store are done, or failed with a sentence; see Replica.persisted."""
        self._check_lease(now)
        self.replica.persisted(answers, now)
        self._pump(now)

    def propose(self, operation: Operation, now: float) -> None:
        """A change of the tree; its Outcome event follows. Raises Refused: then nothing happened."""
        self._check_lease(now)
        self.replica.propose(operation, now)
        self._pump(now)

    def barrier(self, token: int, now: float) -> None:
        """A linearizable read begins; BarrierDone or BarrierFailed with this token follows. Raises Refused."""
        self._check_lease(now)
        self.replica.barrier(token, now)
        self._pump(now)

    def change_config(self, text: bytes, now: float) -> bytes:
        """Propose a configuration to all members; a Concluded event with the id returned follows. Raises Refused."""
        self._need_quorum(now)
        change_id = self.reconfigure.propose(Kind.CONFIG, text, now)
        self._pump(now)
        return change_id

    def rotate_key(self, now: float) -> bytes:
        """Make a new cluster key; a Concluded event with the id returned follows. Raises Refused."""
        self._need_quorum(now)
        change_id = self.rotation.begin(now)
        self._pump(now)
        return change_id

    def _need_quorum(self, now: float) -> None:
        if not self.quorate(now):
            raise NoQuorum("this node is not quorate: the cluster cannot be changed from here")

    def resolved(self, now: float) -> None:
        """Something a configuration waited for has arrived (host names resolved)."""
        self.reconfigure.poke()
        self._pump(now)

    def set_expected(self, votes: int, now: float) -> None:
        """Set expected votes on all members. Raises Refused with votequorum's reasons."""
        self._check_lease(now)
        self.votequorum.set_expected(votes)
        self._pump(now)

    def renew_keys(self, now: float) -> None:
        """See Endpoint.renew_keys."""
        self._check_lease(now)
        self.endpoint.renew_keys(now)
        self._pump(now)

    def leave(self, now: float) -> None:
        """Leave the ring cleanly; `left` becomes true when the goodbye was handed out to be sent.

        Under allow_downscale the others must first hear, in order, that our votes go; a ring that does not turn is
        not waited for. Writes under way get their outcome, if it comes soon; new ones are refused.
        """
        self.replica.leave(now)
        self._farewell = self.votequorum.leave()
        self._outcomes_until, self._goodbye_at = now + OUTCOMES_WAIT, now + GOODBYE_WAIT
        self._pump(now)

    def _may_go(self) -> bool:
        """All that was said is sent, nobody waits for an outcome, and who must have heard us has."""
        srp = self.endpoint.srp
        if srp.backlog_bytes or self._unsent or self.replica.waiting:
            return False
        # A goodbye that overtakes our last message, or outlives it, ends the ring without it.
        return not self._farewell or not any(srp.lag(member) for member in srp.members)

    def _goodbye(self, now: float) -> None:
        self._outcomes_until = self._goodbye_at = None
        self.replica.left(now)
        self.votequorum.left()
        self._pump_quorum(now)
        self.endpoint.leave(now)
        self._pump(now)

    def quorate(self, now: float) -> bool:
        """The verdict, judged now."""
        self._check_lease(now)
        return self.votequorum.quorate(now)

    def pump(self, now: float) -> None:
        """Carry on after a caller has used `groups` or another part directly."""
        self._check_lease(now)
        self._pump(now)

    # -- out -------------------------------------------------------------------------------------------------

    def poll_transmit(self, now: float) -> Transmit | None:
        endpoint = self.endpoint
        out = endpoint.out.popleft() if endpoint.out else endpoint.poll_transmit(now)
        while out is None and endpoint.events:
            # What is sent from a resting token is in order at once: delivered here now, not with the next packet.
            # What is sent in answer too: alone in a ring there is nobody to send to, and events may bring on events.
            self._pump(now)
            out = endpoint.poll_transmit(now)
        return out

    def next_event(self) -> NodeEvent | None:
        return self._events.popleft() if self._events else None

    def next_timeout(self) -> float | None:
        if not self._due_known:
            self._due_known = True
            self._due = earliest(
                self.votequorum.next_timeout(),
                self.replica.next_timeout(),
                self.reconfigure.next_timeout(),
                self.rotation.next_timeout(),
                self.handover.next_timeout(),
                self.past.next_timeout(),
                self._goodbye_at,
                self._outcomes_until,
                self._disk_late_at,
            )
        due, sooner = self._due, self.endpoint.next_timeout()
        return sooner if due is None or (sooner is not None and sooner < due) else due

    def handle_timeout(self, now: float) -> None:
        self._check_lease(now)
        if self._due_known and (self._due is None or now < self._due):
            self._endpoint_due(now)
            self._go_on(now)
            return
        due = self.rotation.next_timeout()
        if due is not None and now >= due:
            listed = self.changes.config.transport.nodes.keys()
            members = self.configuration.members if self.configuration is not None else ()
            first = min(members, default=0) == self.me and listed >= set(members)
            self.rotation.handle_timeout(now, ours=first and self.votequorum.quorate(now))
        if self._disk_late_at is not None and now >= self._disk_late_at:
            self._disk_late_at = None
            self._log.warning("the disk has not written the ring number yet: until then the others do not hear of us")
        if self._outcomes_until is not None and now >= self._outcomes_until:
            self._outcomes_until = None
            self.replica.left(now)
        if self._goodbye_at is not None and now >= self._goodbye_at:
            self._goodbye(now)
        past_due = self.past.next_timeout()
        if past_due is not None and now >= past_due:
            self._look_back(now)
        self.handover.handle_timeout(now, self.changes.config.config_version, self.votequorum.quorate(now))
        self._endpoint_due(now)
        for core in (self.replica, self.reconfigure):
            due = core.next_timeout()
            if due is not None and now >= due:
                core.handle_timeout(now)
        self._pump(now)

    def _endpoint_due(self, now: float) -> None:
        due = self.endpoint.next_timeout()
        if due is not None and now >= due:
            self.endpoint.handle_timeout(now)

    # -- between ---------------------------------------------------------------------------------------------

    def _check_lease(self, now: float) -> None:
        """A process that was stopped or cut off says "not quorate" first when it wakes."""
        if self._due_known and (self._due is None or now < self._due):
            return  # nothing of anybody here is due, the verdict's lease among it
        due = self.votequorum.next_timeout()
        if due is not None and now >= due:
            self.votequorum.handle_timeout(now)
            self._pump_quorum(now)
            self._lapsed, self._due_known = True, False

    def _pump(self, now: float) -> None:
        self._lapsed = self._due_known = False
        endpoint, replica = self.endpoint, self.replica
        moved = True
        while moved:  # this is done for most datagrams, and most parts have nothing to say to most of them
            moved = bool(self._unsent) and self._retry_unsent()
            while endpoint.events and (event := endpoint.next_event()) is not None:
                if isinstance(event, Beat):  # the commonest; it concerns quorum alone, which is asked next
                    self._beat(event, now)
                else:
                    self._on_transport(event, now)
                    moved = True
            if self.votequorum.events or not self.sync.done:
                moved |= self._pump_quorum(now)
            while not replica.quiet and (store := replica.next_event()) is not None:
                self._on_store(store, now)
                moved = True
            if self.groups.events:
                moved |= self._pump_groups()
            if self.reconfigure.events:
                moved |= self._pump_config(now)
            if self.handover.events:
                moved |= self._pump_handover(now)
            while self.rotation.events and (keys := self.rotation.next_event()) is not None:
                self._events.append(keys)
                endpoint.used()
            while self.sync.out and (payload := self.sync.poll()) is not None:
                self._send(SYNC, payload)
                moved = True
        self.left = self.endpoint.srp.left
        if self._goodbye_at is not None and self._may_go():
            self._goodbye(now)

    def _pump_groups(self) -> bool:
        moved = False
        while (group := self.groups.next_event()) is not None:
            moved = True
            if isinstance(group, GroupMulticast):
                self._send(GROUPS, group.payload)
            else:
                self._events.append(group)
        return moved

    def _pump_handover(self, now: float) -> bool:
        moved = False
        while (event := self.handover.next_event()) is not None:
            moved = True
            if isinstance(event, Tell):
                self.endpoint.tell(event.peer, event.payload, now)
            else:
                self.reconfigure.handed(event.sender, event.version, event.text)
                self._pump_config(now)
        return moved

    def _pump_config(self, now: float) -> bool:
        moved = False
        while (config := self.reconfigure.next_event()) is not None:
            moved = True
            if isinstance(config, ConfigMulticast):
                self._send(CONFIG, config.payload)
            elif isinstance(config, Apply):
                self._apply(config, now)
                self.endpoint.used()
            elif isinstance(config, Outside):
                self._told_outside(config.generation, now)
            elif isinstance(config, Persist):
                self._events.append(config)
            else:
                self.rotation.concluded(config)
                self._events.append(config)
        return moved

    def _pump_quorum(self, now: float) -> bool:
        moved = False
        while (event := self.votequorum.next_event()) is not None:
            moved = True
            if isinstance(event, QuorumMulticast):
                self._send(QUORUM, event.payload)
                continue
            if isinstance(event, Verdict):
                self._on_verdict(event, now)
            self._events.append(event)
        if not self.sync.done and not self.votequorum.awaits_device:
            self.sync.ready("quorum")
        return moved

    def _on_verdict(self, verdict: Verdict, now: float) -> None:
        self.reconfigure.verdict(verdict.quorate)
        self.replica.set_quorate(verdict.quorate, now, turned_away(verdict))
        # When votequorum let the absent go, the store's data set follows: by log entries, one node at a time.
        lowered = verdict.quorate and self.votequorum.lowered
        self.replica.lower_data_set(frozenset(verdict.members) if lowered else None, now)

    def _on_store(self, event: StoreEvent, now: float) -> None:
        if isinstance(event, StoreMulticast):
            self._send(STORE, event.payload, event.safe)
        elif isinstance(event, Claim):
            self.endpoint.srp.set_progress(event.value)
            self.endpoint.used()
        elif isinstance(event, StatusChanged):
            primary = self.replica.primary_members
            if primary:
                self.endpoint.srp.set_primary(primary, now)  # whom a choice of cliques should favour
                self.endpoint.used()
            self._events.append(event)
        else:
            self._events.append(event)

    def _on_transport(self, event: TransportTold, now: float) -> None:
        if isinstance(event, Delivery):
            self._on_delivery(event, now)
        elif isinstance(event, Progress):
            self.replica.progress(event.values, now)
        elif isinstance(event, ConfigurationChange):
            self._on_configuration(event, now)
        elif isinstance(event, ClusterKeyLearned):
            name = self.changes.config.name_of(event.sender)
            self._events.append(KeysChanged(f"cluster key generation {event.generation} received from {name}"))
            self.rotation.watch(now)
            self.reconfigure.poke()
        elif isinstance(event, PeerWord):
            ours, least = self.changes.config, self.reconfigure.least_wanted()
            self.handover.receive(event.sender, event.payload, now, ours.config_version, ours.text, least)
        elif isinstance(event, Recalled):
            if self.past.told(event.peer, now):
                name = self.changes.config.name_of(event.peer)
                self._log.warning(
                    f"{name} remembers more of this node than it does itself: its answers do not count here"
                )
                self._look_back(now)
        else:
            if isinstance(event, PathChange):
                self._look_outside(now)
            self._events.append(event)

    def _beat(self, beat: Beat, now: float) -> None:
        """Who remembers more of us than we do answers for a verdict of the past."""
        peers, tellers = beat.peers, self.past.tellers
        if tellers:
            peers = tuple(peer for peer in peers if peer not in tellers)
        self.votequorum.beat(peers, beat.sent_at, now)

    def _look_back(self, now: float) -> None:
        """Do we believe that this machine was put back with its memory?"""
        votes, reached = self.changes.config.votes, self.endpoint.links.reachable()
        if self.past.believes(votes, reached, self.votequorum.suffice, now):
            self.endpoint.end()
            self._events.append(WentBack(tuple(sorted(self.past.tellers))))

    def _look_outside(self, now: float) -> None:
        members = self.configuration.members if self.configuration is not None else ()
        self.handover.outside(self.endpoint.links.reachable() - set(members), now)

    def _on_configuration(self, change: ConfigurationChange, now: float) -> None:
        self._pump_quorum(now)  # what was heard just before may have made a verdict: it is about the ring until here
        self.replica.configuration(change, now)
        if not change.regular:
            return
        # The barrier of the ring that ended was not passed: its messages still belong to it, and those who come
        # with us from there have the same ones.
        for delivery in self.sync.abandon():
            self._route(delivery, now)
        self.groups.configuration(change.transitional_members)
        self.configuration = change
        self._look_outside(now)
        self._events.append(change)
        self.reconfigure.configuration(change.members, change.ring_id)
        self.votequorum.sync_init(change.members, change.ring_id, change.transitional_members, now)
        self.sync.begin(change, {"quorum"} if self.votequorum.awaits_device else None)

    def _on_delivery(self, delivery: Delivery, now: float) -> None:
        channel = delivery.payload[0] if delivery.payload else 0
        if channel == STORE:
            self.replica.deliver(delivery.sender, delivery.payload[1:], delivery.transitional, now)
        elif channel == SYNC:
            done = self.sync.receive(delivery.sender, delivery.payload[1:])
            if done is not None:
                self._on_synchronised(done, now)
        elif self.sync.done:
            self._route(delivery, now)
        else:
            self.sync.hold(delivery)

    def _on_synchronised(self, done: Synchronised, now: float) -> None:
        """In the order of the reference's services: groups learn who left before the verdict is told."""
        self.groups.sync_activate(done.members, done.blobs["groups"])
        self._pump_groups()
        self.votequorum.limit_exclusion(self.reconfigure.shortest_exclusion(done.blobs["config"]))
        newest, ahead = self.reconfigure.newest(done.blobs["config"]), self.reconfigure.ahead(done.blobs["config"])
        self.votequorum.sync_activate(done.blobs["quorum"], now, newest, ahead)
        self._pump_quorum(now)
        self._told_outside(self.reconfigure.newest_outside(done.blobs["config"]), now)
        self.reconfigure.sync_activate(done.blobs["config"])
        while self.sync.held:
            self._route(self.sync.held.popleft(), now)

    def _told_outside(self, generation: int, now: float) -> None:
        self.rotation.told(generation, now)
        self.reconfigure.outside = self.rotation.outside

    def _route(self, delivery: Delivery, now: float) -> None:
        channel, body = delivery.payload[0] if delivery.payload else 0, delivery.payload[1:]
        if channel == QUORUM:
            self.votequorum.receive(delivery.sender, body, now)
            self._pump_quorum(now)
        elif channel == GROUPS:
            self.groups.deliver(delivery.sender, body)
            self._pump_groups()  # told at its place, also before the configuration that follows
        elif channel == CONFIG:
            self.reconfigure.receive(delivery.sender, body, now)
            self._pump_config(now)  # in force from this place of the order on: what follows is judged by it
        else:
            self.unknown_channel += 1

    # -- changes ---------------------------------------------------------------------------------------------

    def _apply(self, change: Apply, now: float) -> None:
        """All members agreed: in force from this place of the order on."""
        initiator = self.changes.config.name_of(change.initiator)
        try:
            if change.kind is Kind.KEY:
                self.rotation.apply(change.body, initiator, now)
                return
            before = self.changes.config.transport.nodes
            taken = self.changes.take(change.body)
            if taken is None:
                self._events.append(Removed(initiator))
                return
            loaded, difference = taken
            self._remove_unlisted(loaded.config.transport.nodes.keys(), before, initiator, now)
            self.reconfigure.version, self.reconfigure.text = loaded.config.config_version, loaded.config.text
            self.reconfigure.exclusion = loaded.config.transport.totem.token
            self.endpoint.reconfigure(loaded.config.transport, loaded.resolve, now)
            self.votequorum.reconfigure(loaded.config.quorum, now, change.late)
            self.replica.set_nodes(loaded.config.votes, now)
            self._events.append(ConfigApplied(loaded.config, difference, initiator))
            self.rotation.watch(now)  # a key that who was removed never saw: last of all (DESIGN 6)
        except ClusterError as error:
            self._log.error(f"a change agreed by all members cannot be taken here: {error}")

    def _remove_unlisted(
        self, listed: Set[NodeId], before: Mapping[NodeId, NodeConfig], initiator: str, now: float
    ) -> None:
        """Who was listed `before` and is not any more is out at once, and remembered."""
        changed = self.removals.forget(sorted(listed))
        date, newest = self.changes.date(), self.changes.live_keys[-1].generation
        for node in sorted(before.keys() - listed):
            self.endpoint.security.remove(node, date, initiator, now)
            self.removals.add(Removal(node, before[node].identity, date, newest, initiator))
            changed = True
        if changed:
            self.reconfigure.outside = self.rotation.outside
            self._events.append(RemovalsChanged(self.removals.encode()))
        if before.keys() - listed:
            self.reconfigure.tell_outside()  # the lowest member rotates: what may be outside is not alike everywhere

    # -- down ------------------------------------------------------------------------------------------------

    def _send(self, channel: int, payload: bytes, safe: bool = False) -> None:
        self._unsent.append((bytes((channel,)) + payload, safe))
        self._retry_unsent()

    def _retry_unsent(self) -> bool:
        """Hand over, in order, what the ring has room for. Services bound what they have under way."""
        moved = False
        while self._unsent:
            try:
                self.endpoint.submit(*self._unsent[0])
            except QueueFull:
                break
            except Refused:  # we are leaving: nobody waits for it any more
                self._unsent.clear()
                break
            self._unsent.popleft()
            moved = True
        return moved
