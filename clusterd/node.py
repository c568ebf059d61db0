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
from collections.abc import Sequence

from cfs.messages import Operation
from cfs.replica import Replica
from cfs.status import Claim, StatusChanged
from cfs.status import Event as StoreEvent
from cfs.status import Multicast as StoreMulticast
from clusterd.changes import Changes
from clusterd.channels import CONFIG, GROUPS, QUORUM, STORE, SYNC, Outbox
from clusterd.configuring import Configuring
from clusterd.events import NodeEvent
from clusterd.leaving import Leaving
from clusterd.past import Past, WentBack
from clusterd.promises import Promises
from clusterd.reconfigure import Kind
from clusterd.removals import Removals
from quorum.reasons import turned_away
from quorum.votequorum import Multicast as QuorumMulticast
from quorum.votequorum import Verdict, Votequorum
from transport.core import Entropy, Log, earliest
from transport.endpoint import Endpoint, Transmit
from transport.endpoint import Told as TransportTold
from transport.errors import NoQuorum
from transport.events import Beat, ConfigurationChange, Delivery, PathChange, PeerWord, Progress, Recalled
from transport.exchange import ClusterKeyLearned
from transport.groups import Groups
from transport.groups import Multicast as GroupMulticast
from transport.ids import LinkId, NodeId
from transport.link.events import Address
from transport.sync import Sync, Synchronised

DISK_PATIENCE = 2.0
"""Seconds after the start until a node whose disk has not answered says why nobody hears of it."""


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
        self._events: deque[NodeEvent] = deque()
        self._outbox = outbox = Outbox(endpoint)
        self._configuring = configuring = Configuring(
            me, endpoint, votequorum, replica, changes, removals, promises, outbox, self._events, entropy, log
        )
        self.reconfigure = configuring.reconfigure
        self.handover = configuring.handover
        self.rotation = configuring.rotation
        self.past = Past(me)
        self.groups = Groups(me, log)
        self.sync = Sync(me, {"groups": self.groups, "quorum": votequorum, "config": self.reconfigure}, log)
        self.configuration: ConfigurationChange | None = None
        """The regular configuration installed last."""
        self.left = False
        """A clean leave was sent: the process may end."""
        self.unknown_channel = 0
        self._log = log
        self._leaving: Leaving | None = None
        self._due: float | None = None  # the next timeout of all but the endpoint, while `_due_known`
        self._due_known = False  # nothing was put into any of them since
        self._lapsed = False  # the verdict was judged since the last `_pump`, and others may have heard of it
        self._disk_late_at: float | None = None  # when to say that we wait for it, with the others not hearing of us

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
        if events or self._outbox.waiting or self._lapsed or self._leaving is not None:
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
        self._leaving = Leaving(self.replica, self.votequorum.leave(), now)
        self._pump(now)

    def _goodbye(self, now: float) -> None:
        self._leaving = None
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
                self._leaving.next_timeout() if self._leaving is not None else None,
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
        self._configuring.rotate_if_due(now)
        if self._disk_late_at is not None and now >= self._disk_late_at:
            self._disk_late_at = None
            self._log.warning("the disk has not written the ring number yet: until then the others do not hear of us")
        if self._leaving is not None and self._leaving.handle_timeout(now):
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
            moved = bool(self._outbox.waiting) and self._outbox.retry()
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
                moved |= self._configuring.pump_changes(now)
            if self.handover.events:
                moved |= self._configuring.pump_handover(now)
            if self.rotation.events:
                self._configuring.pump_keys()
            while self.sync.out and (payload := self.sync.poll()) is not None:
                self._outbox.send(SYNC, payload)
                moved = True
        self.left = self.endpoint.srp.left
        if self._leaving is not None and self._leaving.may_go(endpoint.srp, self._outbox):
            self._goodbye(now)

    def _pump_groups(self) -> bool:
        moved = False
        while (group := self.groups.next_event()) is not None:
            moved = True
            if isinstance(group, GroupMulticast):
                self._outbox.send(GROUPS, group.payload)
            else:
                self._events.append(group)
        return moved

    def _pump_quorum(self, now: float) -> bool:
        moved = False
        while (event := self.votequorum.next_event()) is not None:
            moved = True
            if isinstance(event, QuorumMulticast):
                self._outbox.send(QUORUM, event.payload)
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
            self._outbox.send(STORE, event.payload, event.safe)
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
            self._configuring.key_learned(event, now)
        elif isinstance(event, PeerWord):
            self._configuring.word(event, now)
        elif isinstance(event, Recalled):
            if self.past.told(event.peer, now):
                name = self.changes.config.name_of(event.peer)
                self._log.warning(
                    f"{name} remembers more of this node than it does itself: its answers do not count here"
                )
                self._look_back(now)
        else:
            if isinstance(event, PathChange):
                self._configuring.look_outside(now)
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
        self._events.append(change)
        self._configuring.configuration(change, now)
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
        self._configuring.told_outside(self.reconfigure.newest_outside(done.blobs["config"]), now)
        self.reconfigure.sync_activate(done.blobs["config"])
        while self.sync.held:
            self._route(self.sync.held.popleft(), now)

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
            self._configuring.pump_changes(now)  # in force from this place on: what follows is judged by it
        else:
            self.unknown_channel += 1
