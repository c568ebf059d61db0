"""One simulated machine: a clock of its own, a disk, and at most one running process, which is the product's Node.

The same object the daemon drives: every input is followed by `_after`, which sends what the node wants sent, acts on
its events and arms one timer. Datagrams that come while the process is busy are handed over together, as one wake-up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from copy import deepcopy
from dataclasses import dataclass, field, fields
from random import Random
from typing import Protocol

from cfs.disk import Adopt, AppendLog, Checkpoint, MarkCommit, TruncateTail
from cfs.messages import Operation
from cfs.state import State
from cfs.status import BarrierDone, BarrierFailed, Changed, Outcome, Replaced, StatusChanged
from clusterd import keystore
from clusterd.changes import ConfigApplied, KeysChanged, Removed
from clusterd.node import Node
from clusterd.removals import NAME as REMOVALS
from clusterd.removals import RemovalsChanged
from quorum.events import SavedState, SaveState, Verdict
from tests.sim.aspects import aspect
from tests.sim.build import AUTHKEY, CONFIG, KEYRING, QUORUM_FILE, Recipe
from tests.sim.checkers.quorum import Answer
from tests.sim.checkers.verdicts import Verdicts
from tests.sim.clock import Clock
from tests.sim.device import Arbiter, Client
from tests.sim.groups import Processes
from tests.sim.history import Applied, Call, Configured, Heard, History, Process, StoreSample, Told, Violation
from tests.sim.network import Address, Network, address_of
from tests.sim.shadow import LEAST, LONGEST, Machine, Shadow, knows_more, untapped
from tests.sim.snapshot import Memory, Snapshot, go_back, put_back, take
from tests.sim.storage import Storage, operation_id
from tests.sim.tap import tap, tap_claims, tap_past, waiting
from tests.sim.trace import NodeLog, Trace
from tests.sim.watchers import Watcher
from tests.sim.workload import Workload
from tests.transport.totem import evs
from transport.errors import ClusterError
from transport.events import ConfigurationChange, Persist
from transport.ids import NO_RING, LinkId, NodeId, RingId
from transport.totem.stats import Stats

WAKE_COST = 100e-6  # seconds a process is busy with one wake-up, as measured, and with each datagram of it
DATAGRAM_COST = 20e-6
GONE = "its address is not on this host"
EPOCH = 1_700_000_000  # what the wall clocks say at the beginning, Unix seconds
STATS = tuple(one.name for one in fields(Stats))
SOCKET_BUFFER = 2000  # datagrams the kernel keeps for a process that does not read


@dataclass(slots=True)
class World:
    """What the hosts of a run share."""

    clock: Clock
    random: Random
    network: Network
    trace: Trace
    history: History
    recipe: Recipe
    arbiter: Arbiter
    workload: Workload
    acked: Callable[[Host, Call], None]
    verdict_changed: Callable[[], None]
    woke: Callable[[NodeId, float], None]
    processes: Processes
    administrator: Overseer
    verdicts: Verdicts
    watchers: list[Watcher] = field(default_factory=list)


class Overseer(Protocol):
    """Who copies files to machines and reads what their nodes say of the cluster's changes (tests/sim/admin.py)."""

    def equip(self, node: NodeId) -> None: ...
    def started(self, host: Host, node: Node) -> None: ...
    def heard(self, host: Host, node: Node, event: object) -> None: ...
    def saved(self, host: Host) -> None: ...
    def ended(self, host: Host) -> None: ...


class Host:
    """See the module's text. Times inside the node are this machine's own clock: offset and rate differ by host."""

    def __init__(self, me: NodeId, world: World) -> None:
        self.me = me
        self._world = world
        self._clock = world.clock
        self._bound = world.network.bound
        self._offset, self._rate = world.recipe.plan.skew[me]
        self._wake_delay = world.recipe.plan.wake_delay
        later = aspect(world.recipe.plan.seed, f"promises {me}")
        self.storage = Storage(world.clock, world.random, self._disk_answered, self._file_written, later)
        self._device: Client | None = None
        quorum = world.recipe.plan.settings.quorum
        if quorum.device:
            self._device = Client(me, world.arbiter, quorum, world.clock, world.random, self.now, self._do, self._asker)
            self._device.start()
        self.on_start: Callable[[Node], None] | None = None  # is shown each process before it begins
        self.configured: ConfigurationChange | None = None  # the last one installed
        self.node: Node | None = None
        self.shadow: Shadow | None = None
        self.process: Process | None = None
        self.log: NodeLog | None = None  # of the process that runs, or ran last
        self.process_number = 0
        self._cost_factor = 1.0
        self.paused = False
        self.paused_for = 0.0
        self.woke_at = 0.0
        self._stepped = 0.0  # seconds by which its wall clock was set
        self.rotten = False  # its tree in memory is damaged, and it was not resynced since
        self._paused_at = 0.0
        self._leaving = False
        self._gone: set[LinkId] = set()  # links whose address this machine does not have now
        self._inbox: list[tuple[LinkId, Address, bytes]] = []
        self._waiting: list[Callable[[], None]] = []  # what happens once the process runs again
        self._due: float | None = None  # the timer that is armed, true time
        self._busy_until = 0.0
        self._latest = 0.0
        self._verdict: Verdict | None = None  # the last one told
        self._counted: dict[NodeId, int] = {}  # the votes by which it was
        self._calls: dict[bytes, Call] = {}
        self._reads: dict[int, Call] = {}
        self._tokens = 0
        self.accepted = 0  # writes that were taken
        self.totals: dict[str, int] = {}
        self.did: Counter[str] = Counter()  # what befell it: killed, left, stale (woken with timers long due), woken

    # -- the process -----------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        return self.node is not None

    @property
    def remembers(self) -> bool:
        """A process of the past runs here."""
        return self.shadow is not None

    def now(self) -> float:
        """This machine's clock; never goes back."""
        now = self._offset + self._clock.now * self._rate
        if now > self._latest:
            self._latest = now
        return self._latest

    def _asker(self) -> int | None:
        return self.process_number if self.node is not None and not self.paused else None

    def start(self) -> None:
        if self.node is not None:
            return
        self._end_shadow()
        world = self._world
        self.process_number += 1
        self.paused = self._leaving = False
        self.log = log = NodeLog(world.trace, self.me, lambda: world.clock.now)
        entropy = world.random.randbytes
        world.administrator.equip(self.me)
        made = world.recipe.make(self.me, self.storage.load(), self.storage.files, self.date, entropy, self.now(), log)
        node, self._keyring = made
        ring = evs.Trace(self.me, 0)
        self.process = Process(self.me, self.process_number, world.clock.now, ring)
        world.history.processes.append(self.process)
        world.trace.line(world.clock.now, self.me, f"process {self.process_number} starts")
        tap(node, self.me, self.process, world.clock, world.trace)
        if self.on_start is not None:
            self.on_start(node)
        if not world.history.in_memory:
            tap_claims(node, self.process, world.clock, lambda: self.storage.end)
        highest, newcomer = map(int, self.storage.files.get(QUORUM_FILE, b"0 0").split())
        world.verdicts.follow(self.me, node.votequorum, node.changes.config.quorum, SavedState(highest, newcomer))
        self.node = node
        self._bind(node)
        world.administrator.started(self, node)
        node.start(self.now())
        for link in sorted(self._gone):
            node.set_local(link, GONE, self.now())
        self._after()

    def _bind(self, node: Node) -> None:
        own = {link: address for (owner, link), address in node.changes.resolve.items() if owner == self.me}
        self._world.network.bind(self.me, own)

    def kill(self, power: bool = False) -> None:
        """SIGKILL, or the power goes: what was not on disk is lost; with SIGKILL all that was written stays."""
        self._end_shadow()
        if self.node is not None:
            self._end("killed")
            self.storage.crash(power)

    def leave(self) -> None:
        """SIGTERM: a clean leave, then the end of the process."""
        if self.node is not None and not self.paused:
            self._leaving = True
            if self.process is not None and self.process.leaving is None:
                self.process.leaving = self._world.clock.now
            self.node.leave(self.now())
            self._after()

    def _removed(self, life: int) -> None:
        if life == self.process_number:
            self.leave()

    def pause(self) -> None:
        if self.node is not None and not self.paused:
            self.paused = True
            self._paused_at = self._world.clock.now
            self._world.trace.line(self._world.clock.now, self.me, "paused")

    def resume(self, timers_first: bool = False) -> None:
        """SIGCONT. The first thing a client hears is the verdict, before any packet is read (Q4).

        timers_first: of the timers long due and the packets that wait, both ready, the loop takes the timers first.
        """
        if self.node is None or not self.paused:
            return
        clock = self._world.clock
        self.paused = False
        self._note_pause()
        self._world.woke(self.me, clock.now - self._paused_at)
        deadline = self.node.next_timeout()
        self.did["stale"] += deadline is not None and deadline <= self.now()
        self._world.trace.line(clock.now, self.me, "resumed")
        self._world.verdict_changed()
        waiting, self._waiting = self._waiting, []
        for action in waiting:
            action()
        if timers_first and self.node is not None and deadline is not None and deadline <= self.now():
            self.node.handle_timeout(self.now())
            self._after()
        if self.node is not None:
            self._handle_inbox()
        if self.node is not None:
            self._arm()

    def snapshot(self, memory: bool = False) -> Snapshot:
        """Of this virtual machine; it goes on meanwhile. memory: with that of its process."""
        kept = None
        if memory and self.node is not None and self.process is not None and not self.paused and not self._leaving:
            world = self._world
            shared = (world, world.random, world.trace, world.clock, world.network, self, self.log, self.node._log)
            copied = deepcopy(self.node, {id(one): one for one in shared})
            untapped(copied)
            kept = Memory(copied, self.process, waiting(self.process))
        return take(self.storage, self.now(), self._clock.now, kept)

    def put_back(self, snapshot: Snapshot, others: Iterable[Node]) -> None:
        """It goes on from the snapshot. Its hypervisor tells, and the process ends, for a new one to start; or it was
        made with the memory, and nobody tells. But of the `others` that run somebody must have heard of it since: or
        what goes on is like one that was stopped for a while, which `pause` does, and a new process starts here too."""
        self._end_shadow()
        if self.node is not None:
            self._end("put back")
        self._latest = snapshot.reading
        self._offset = snapshot.reading - self._world.clock.now * self._rate
        memory = snapshot.memory if self._clock.now - snapshot.at >= LEAST else None
        if memory is not None and any(knows_more(other, memory.node) for other in others):
            go_back(self.storage, snapshot)
            self._world.processes.put_back(self.me, memory.process.number, snapshot.at)
            self._go_on(memory)
        else:
            put_back(self.storage, snapshot)
        self._world.history.samples.append(StoreSample(self._world.clock.now, self.me, -1, 0, b""))

    def _go_on(self, memory: Memory) -> None:
        """The process of the past, until it ends by itself or somebody starts its daemon anew."""
        clock = self._clock
        self.did["put back with its memory"] += 1
        self._world.trace.line(clock.now, self.me, "goes on from a snapshot of its memory")
        machine = Machine(
            self.me, clock, self._world.network, self.storage, self.now, lambda due: (due - self._offset) / self._rate
        )
        tap_past(memory.node, memory.process, memory.waiting, self._world.history)
        self.shadow = shadow = Shadow(memory.node, machine, lambda: clock.after(0.2, self._start_after, shadow))
        clock.after(LONGEST, self._start_after, shadow)

    def _start_after(self, shadow: Shadow) -> None:
        if self.shadow is shadow:
            self.start()

    def _end_shadow(self) -> None:
        shadow, self.shadow = self.shadow, None
        if shadow is not None:
            shadow.end()
            how = "told by others" if shadow.noticed else "not noticed"
            self.did[how] += 1
            self._world.trace.line(self._clock.now, self.me, f"the process of the past ends: {how}")
            self.storage.crash()

    def _note_pause(self) -> None:
        """It stood still until now."""
        now = self._world.clock.now
        self.paused_for += now - self._paused_at
        self.woke_at = now
        self._world.history.pauses.append((self.me, self._paused_at, now))

    def wipe(self, keep_marker: bool) -> None:
        """A new disk; what clients saw of the old one is gone with it."""
        self.storage.wipe(keep_marker)
        self._world.history.samples.append(StoreSample(self._world.clock.now, self.me, -1, 0, b""))

    def _end(self, how: str) -> None:
        assert self.node is not None and self.process is not None
        now = self._world.clock.now
        if self.paused:
            self._note_pause()
        self._count(self.node)
        self.did[how] += 1
        self.process.ended = now
        self.process.ring.events.append(evs.Crash())
        self.process.left = how == "left"
        self._world.processes.ended(self.me)
        self._world.administrator.ended(self)
        self._world.trace.line(now, self.me, f"process {self.process_number} ends: {how}")
        self.node = self.configured = None
        if self._device is not None:
            self._device.forget()
        self.paused = False
        self._verdict = None
        self._due = None
        self._inbox.clear()
        self._waiting.clear()
        calls = [*self._calls.values(), *self._reads.values()]
        self._calls.clear()
        self._reads.clear()
        for call in calls:
            self._world.workload.unknown(call)

    def _count(self, node: Node) -> None:
        stats = node.endpoint.srp.stats
        for name in STATS:
            self.totals[name] = self.totals.get(name, 0) + getattr(stats, name)

    def finish(self) -> None:
        """The run is over: count what the last process did."""
        if self.node is not None:
            self._count(self.node)

    @property
    def cost_factor(self) -> float:
        """How many times longer than usual this machine takes for what it does."""
        return self._cost_factor

    @cost_factor.setter
    def cost_factor(self, factor: float) -> None:
        """From now on; what it is at work on goes on at the new pace."""
        clock = self._world.clock
        left = max(0.0, self._busy_until - clock.now) * factor / self._cost_factor
        self._cost_factor = factor
        if left:
            self._busy_until = clock.now + left
            clock.at(self._busy_until, self._handle_inbox)

    # -- in --------------------------------------------------------------------------------------------------

    def arrive(self, source: NodeId, link: LinkId, data: bytes) -> bool:
        """A datagram reaches this machine; False: no process listens."""
        return self.inject(link, self._bound.get((source, link)) or address_of(source, link), data)

    def inject(self, link: LinkId, address: Address, data: bytes) -> bool:
        """The same, from whatever address it claims to come."""
        if self.shadow is not None:
            if link not in self._gone:
                self.shadow.inject(link, address, data)
            return True
        if self.node is None or (self.me, link) not in self._bound:
            return False
        if link in self._gone:
            return True  # nobody has the address: it is lost without a word
        inbox = self._inbox
        if not inbox and not self.paused:
            wake, busy = self._clock.now + self._wake_delay, self._busy_until
            self._clock.at(busy if busy > wake else wake, self._handle_inbox)
        if len(inbox) < SOCKET_BUFFER:
            inbox.append((link, address, data))
        return True

    def _handle_inbox(self) -> None:
        if self.node is None or self.paused or not self._inbox:
            return
        clock = self._clock
        if clock.now < self._busy_until:
            clock.at(self._busy_until, self._handle_inbox)
            return
        batch, self._inbox = self._inbox, []
        self._busy_until = clock.now + (WAKE_COST + DATAGRAM_COST * len(batch)) * self._cost_factor
        self.node.receive(batch, self.now())
        self._after()

    def refused(self, target: NodeId, link: LinkId) -> None:
        """ICMP port unreachable for something this machine sent."""
        self._do(
            lambda node: node.refused(
                link, self._world.network.address(target, link), "connection refused", True, self.now()
            )
        )

    def date(self) -> int:
        """The wall clock of this machine, Unix seconds."""
        return int(EPOCH + self._stepped + self.now())

    def clock_jumped(self, seconds: float) -> None:
        """The wall clock was stepped, and the driver sees it (transport/io/driver.py)."""
        self._stepped += seconds
        self._do(lambda node: node.renew_keys(self.now()))

    def set_address(self, link: LinkId, gone: bool) -> None:
        """This machine's own address on `link` vanishes, or is there again."""
        (self._gone.add if gone else self._gone.discard)(link)
        self._do(lambda node: node.set_local(link, GONE if gone else None, self.now()))

    def told_too_big(self, size: int) -> None:
        """Its kernel says of every path that IP packets above `size` bytes do not pass."""

        def tell(node: Node) -> None:
            for (peer, link), address in sorted(node.changes.resolve.items()):
                if peer != self.me:
                    node.too_big(link, address, size, True, self.now())

        self._do(tell)

    def do(self, action: Callable[[Node], None]) -> None:
        """A local caller asks something of the process."""
        self._do(action)

    def _do(self, action: Callable[[Node], None]) -> None:
        """An input for the process; one that is paused gets it when it runs again."""
        if self.node is None:
            return
        if self.paused:
            life = self.process_number
            self._waiting.append(lambda: self._do(action) if life == self.process_number else None)
            return
        action(self.node)
        self._after()

    def _disk_answered(self, receipt: int, error: str | None) -> None:
        if self.shadow is not None:
            self.shadow.disk_answered(receipt, error)
            return
        self._do(lambda node: node.disk_answered([(receipt, error)], self.now()))

    def _file_written(self, file: Persist) -> None:
        if self.shadow is not None:
            self.shadow.file_written(file)
            return
        if file.name == KEYRING and self.node is not None:
            self.storage.persist(Persist(0, AUTHKEY, keystore.save(self._keyring)[0]))
        elif file.name == REMOVALS and self.node is not None:
            self.storage.persist(Persist(0, CONFIG, self.node.changes.config.text))
        if file.receipt:
            self._do(lambda node: node.file_written(file.receipt, self.now()))
        if self.node is not None and not self.storage.is_writing():
            self._world.administrator.saved(self)

    def _timer(self, due: float) -> None:
        if due != self._due:
            return
        self._due = None
        node = self.node
        if node is None or self.paused:
            return
        deadline = node.next_timeout()
        if deadline is None:
            return
        now = self.now()
        if now < deadline and deadline - now < 1e-9:
            self._latest = now = deadline  # rounding between this clock and the true one
        if now >= deadline:
            node.handle_timeout(now)
            self._after()
        else:
            self._arm_for(deadline)  # it was put off since the timer was armed

    # -- out -------------------------------------------------------------------------------------------------

    def _after(self) -> None:
        node = self.node
        if node is None:
            return
        now = self.now()
        network, trace = self._world.network, self._world.trace
        while True:
            while (transmit := node.poll_transmit(now)) is not None:
                trace.datagram(transmit.data)
                if transmit.link not in self._gone:
                    network.send(self.me, transmit.link, transmit.address, transmit.data)
            event = node.next_event()
            if event is None:
                break
            self._on_event(event)
            if self.node is not node:
                return
        if self._leaving and node.left:
            self._end("left")
            late = {}
            if self.storage.is_writing(KEYRING):
                late[AUTHKEY] = keystore.save(self._keyring)[0]
            if self.storage.is_writing(REMOVALS):
                late[CONFIG] = node.changes.config.text
            self.storage.close()
            self.storage.files.update(late)
            return
        self._arm()

    def _arm(self) -> None:
        assert self.node is not None
        deadline = self.node.next_timeout()
        if deadline is not None and not self.paused:
            self._arm_for(deadline)

    def _arm_for(self, deadline: float) -> None:
        due = (deadline - self._offset) / self._rate
        if self._due is None or due < self._due:
            clock = self._clock
            self._due = due = due if due > clock.now else clock.now
            clock.at(due, self._timer, due)

    def _on_event(self, event: object) -> None:
        assert self.process is not None
        now = self._world.clock.now
        self._world.processes.heard(self.me, event)
        if self.node is not None:
            self._world.administrator.heard(self, self.node, event)
        match event:
            case AppendLog() | Adopt() | TruncateTail() | Checkpoint() | MarkCommit():
                self.storage.request(event)
            case Persist():
                self.storage.persist(event)
            case SaveState():
                saved = f"{event.state.highest_expected} {event.state.newcomer}".encode()
                self.storage.persist(Persist(0, QUORUM_FILE, saved))
            case RemovalsChanged():
                self.storage.persist(Persist(0, REMOVALS, event.data))
            case ConfigApplied():
                if not self.storage.is_writing(REMOVALS):
                    self.storage.persist(Persist(0, CONFIG, event.config.text))
                if self.node is not None:
                    self._bind(self.node)
            case KeysChanged():
                self.storage.persist(Persist(0, KEYRING, keystore.save(self._keyring)[1]))
            case Removed():
                self._world.clock.after(0.0, self._removed, self.process_number)
            case ConfigurationChange():
                self.process.events.append(Configured(now, event))
                self.configured = event
                if self._device is not None:
                    self._device.ask(event.ring_id)
            case Verdict():
                self._verdict = event
                self._counted = self.node.votequorum.view().votes if self.node is not None else {}
                self.process.events.append(Told(now, event))
                self._world.trace.line(now, self.me, f"quorate {event.quorate} in {event.ring_id} {event.members}")
                self._world.verdict_changed()
            case Outcome():
                self._on_outcome(event)
            case BarrierDone():
                self._on_barrier(event.token)
            case BarrierFailed():
                read = self._reads.pop(event.token, None)
                if read is not None:
                    self._world.workload.refused(read)
            case Changed():
                if self.node is not None:
                    self._note_change(self.node, event)
                self.sample()
                for watcher in self._world.watchers:
                    watcher.changed(self.me)
            case Replaced():
                self.rotten = False
                for watcher in self._world.watchers:
                    watcher.replaced(self.me)
            case StatusChanged():
                status = self.node.replica.status() if self.node is not None else None
                if status is not None:
                    text = f"store {status.state}, writable {status.writable}: {status.reason}"
                    self._world.trace.line(now, self.me, text)

    def _note_change(self, node: Node, event: Changed) -> None:
        assert self.process is not None
        now, log = self._world.clock.now, node.replica.log
        epoch = log.epoch_at(event.index)
        self.process.events.append(Heard(now, "a change of the tree", epoch))
        record = next(iter(log.slice(event.index - 1, event.index)), None)
        ident = operation_id(record) if record is not None else None
        if ident is not None:
            revisions = tuple(change.revision for change in event.changes)
            self._world.history.applied.append(Applied(now, self.me, ident, epoch, event.index, revisions))

    # -- clients ---------------------------------------------------------------------------------------------

    def tree(self) -> tuple[State, RingId] | None:
        """What a watcher here is shown, and the epoch of the last record in it; None: not readable."""
        node = self.node
        if node is None or self.paused or not node.replica.readable():
            return None
        state = node.replica.state
        return state, node.replica.log.epoch_at(state.index)

    def can_connect(self) -> bool:
        return self.node is not None and not self.paused and not self._leaving

    def log_index(self) -> int:
        """As the local socket's hello tells it."""
        return max(1, self.node.replica.state.index) if self.node is not None else 0

    def write(self, call: Call, operation: Operation) -> None:
        self._calls[call.id] = call

        def propose(node: Node) -> None:
            known = node.replica.state.outcome(call.id) is not None
            try:
                node.propose(operation, self.now())
            except ClusterError:
                self._calls.pop(call.id, None)
                self._world.workload.refused(call)
                return
            self.accepted += 1
            if not known and not node.quorate(self.now()):
                raise Violation(self._world.clock.now, "Q5", f"node {self.me} took a write and is not quorate: {call}")

        self._do(propose)

    def read(self, call: Call) -> None:
        """Linearizable: answered after a barrier."""
        self._tokens += 1
        token = self._tokens
        self._reads[token] = call

        def barrier(node: Node) -> None:
            try:
                node.barrier(token, self.now())
            except ClusterError:
                self._reads.pop(token, None)
                self._world.workload.refused(call)

        self._do(barrier)

    def read_local(self, call: Call) -> None:
        def look(node: Node) -> None:
            if node.replica.status().readable:
                self.sample()
                self._found(node, call)
            else:
                self._world.workload.refused(call)

        self._do(look)

    def _on_barrier(self, token: int) -> None:
        call = self._reads.pop(token, None)
        if call is not None and self.node is not None:
            self._found(self.node, call)

    def _found(self, node: Node, call: Call) -> None:
        call.epoch = self._epoch()
        entry = node.replica.state.find(call.key)
        if entry is None:
            self._world.workload.found(call, None, 0)
        else:
            self._world.workload.found(call, entry.data, entry.revision)

    def _on_outcome(self, outcome: Outcome) -> None:
        call = self._calls.pop(outcome.operation.id, None)
        if call is None:
            return
        result = outcome.result
        if result is None:
            self._world.workload.unknown(call)
            return
        call.epoch = self._epoch()
        self._world.acked(self, call)
        self._world.workload.answered(call, result.code, result.revision, result.detail)

    def answer(self) -> Answer | None:
        """What a client that asks for quorum now is told; None: nobody answers."""
        node = self.node
        if node is None or self.paused or self._verdict is None:
            return None
        quorate, verdict = node.quorate(self.now()), self._verdict
        return Answer(quorate, verdict.ring_id, verdict.members, verdict.total, verdict.quorum, self._counted)

    def _epoch(self) -> RingId:
        """The epoch in which an answer given now is given: that of the log's end."""
        return self.node.replica.log.end.epoch if self.node is not None else NO_RING

    def rot_in_memory(self, random: Random, spared: str) -> str | None:
        """A bit of some file but the spared one flips in the tree that this node has in memory; which file, None where
        it has no other."""
        node = self.node
        assert node is not None
        tree = node.replica.state._tree
        files = sorted(path for path, entry in tree.entries.items() if entry.data and path != spared)
        if not files:
            return None
        entry = tree.entries[random.choice(files)]
        place = random.randrange(len(entry.data))
        entry.data = (
            entry.data[:place] + bytes([entry.data[place] ^ 1 << random.randrange(8)]) + entry.data[place + 1 :]
        )
        self.rotten = True
        return entry.path

    def sample(self) -> None:
        node = self.node
        if node is not None and node.replica.readable() and not self.rotten:
            state = node.replica.state
            epoch = node.replica.log.epoch_at(state.index)
            now = self._world.clock.now
            sample = StoreSample(now, self.me, self.process_number, state.revision, state.digest(), epoch)
            self._world.history.samples.append(sample)
