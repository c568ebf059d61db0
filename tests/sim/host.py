"""One simulated machine: a clock of its own, a disk, and at most one running process, which is the product's Node.

The same object the daemon drives: every input is followed by `_after`, which sends what the node wants sent, acts on
its events and arms one timer. What waits to be read is in tests/sim/inbox.py, what
clients ask in tests/sim/local_socket.py, what the process writes in tests/sim/small_files.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import fields

from cfs.disk import Adopt, AppendLog, Checkpoint, MarkCommit, TruncateTail
from cfs.status import BarrierDone, BarrierFailed, Changed, Outcome, Replaced, StatusChanged
from clusterd.changes import ConfigApplied, KeysChanged, Removed
from clusterd.node import Node
from clusterd.removals import RemovalsChanged
from quorum.events import SavedState, SaveState, Verdict
from tests.sim.aspects import aspect
from tests.sim.build import QUORUM_FILE
from tests.sim.device import Client
from tests.sim.generation import Generation
from tests.sim.history import Applied, Configured, Heard, Process, Told
from tests.sim.inbox import Inbox
from tests.sim.local_socket import LocalSocket
from tests.sim.machine_clock import MachineClock
from tests.sim.network import Address, address_of
from tests.sim.shadow import Shadow
from tests.sim.small_files import SmallFiles
from tests.sim.storage import Storage, operation_id
from tests.sim.tap import tap, tap_claims
from tests.sim.trace import NodeLog
from tests.sim.world import World
from tests.transport.totem import evs
from transport.events import ConfigurationChange, Persist
from transport.ids import LinkId, NodeId
from transport.totem.stats import Stats

GONE = "its address is not on this host"
STATS = tuple(one.name for one in fields(Stats))


class Host:
    """See the module's text. Times inside the node are this machine's own clock."""

    def __init__(self, me: NodeId, world: World) -> None:
        self.me = me
        self._world = world
        self._clock = world.clock
        self._bound = world.network.bound
        self.time = MachineClock(world.clock, *world.recipe.plan.skew[me])
        self.now = self.time.now
        self.inbox = Inbox(world.clock, world.recipe.plan.wake_delay, self._read)
        later = aspect(world.recipe.plan.seed, f"promises {me}")
        self.storage = Storage(world.clock, world.random, self._disk_answered, self._file_written, later)
        self._device: Client | None = None
        quorum = world.recipe.plan.settings.quorum
        if quorum.device:
            self._device = Client(me, world.arbiter, quorum, world.clock, world.random, self.now, self.do, self._asker)
            self._device.start()
        self.on_start: Callable[[Node], None] | None = None  # is shown each process before it begins
        self.configured: ConfigurationChange | None = None  # the last one installed
        self.socket = LocalSocket(self, world)
        self.node: Node | None = None
        self.shadow: Shadow | None = None
        self.process: Process | None = None
        self.log: NodeLog | None = None  # of the process that runs, or ran last
        self.process_number = 0
        self.paused = False
        self.paused_for = 0.0
        self.woke_at = 0.0
        self._paused_at = 0.0
        self._leaving = False
        self._gone: set[LinkId] = set()  # links whose address this machine does not have now
        self._waiting: list[Callable[[], None]] = []  # what happens once the process runs again
        self._due: float | None = None  # the timer that is armed, true time
        self.totals: dict[str, int] = {}
        # What befell it: killed, left, stale (woken with timers long due), clock jumped, packets without an address.
        self.did: Counter[str] = Counter()

    # -- the process -----------------------------------------------------------------------------------------

    @property
    def up(self) -> bool:
        return self.node is not None

    def can_connect(self) -> bool:
        """Does the process take what local callers ask?"""
        return self.node is not None and not self.paused and not self._leaving

    @property
    def remembers(self) -> bool:
        """A process of the past runs here."""
        return self.shadow is not None

    def _asker(self) -> tuple[int, Node] | None:
        return (self.process_number, self.node) if self.node is not None and not self.paused else None

    def start(self) -> None:
        if self.node is not None:
            return
        self.end_shadow()
        world = self._world
        self.process_number += 1
        self.paused = self._leaving = False
        self.log = log = NodeLog(world.trace, self.me, lambda: world.clock.now)
        entropy = world.random.randbytes
        world.equip(self.me)
        storage, date = self.storage, self.time.date
        node, keyring = world.recipe.make(self.me, storage.load(), storage.files, date, entropy, self.now(), log)
        self._files = SmallFiles(storage, node.changes, keyring)
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
        world.minutes.started(self, node)
        node.start(self.now())
        for link in sorted(self._gone):
            node.set_local(link, GONE, self.now())
        self._after()

    def _bind(self, node: Node) -> None:
        own = {link: address for (owner, link), address in node.changes.resolve.items() if owner == self.me}
        self._world.network.bind(self.me, own)

    def kill(self, power: bool = False) -> None:
        """SIGKILL, or the power goes: what was not on disk is lost; with SIGKILL all that was written stays."""
        self.end_shadow()
        if self.node is not None:
            self.end("killed")
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
        # Read again through `_running`: what waited may have ended the process, which compiled code does not see.
        node = self._running()
        if timers_first and node is not None and deadline is not None and deadline <= self.now():
            node.handle_timeout(self.now())
            self._after()
        self._read()
        if self._running() is not None:
            self._arm()

    def _running(self) -> Node | None:
        return self.node

    def end_shadow(self) -> None:
        """Here nothing goes on from the past any more."""
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
        self.socket.forget_samples()

    def restore(self, saved: Generation | None) -> None:
        """An old copy takes the place of the store. What clients saw of the last one is gone with it: a copy that is
        known to be old is filled again by whoever is there, and they may have less; one of the same epoch is known to
        be old only by members that saw what it had, and is shown as it is where these are away (promises.md, S6)."""
        self.storage.restore(saved)
        self.socket.forget_samples()

    def end(self, how: str) -> None:
        """The process is gone, as `how` says; whatever was its own goes with it."""
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
        self._world.minutes.ended(self)
        self._world.trace.line(now, self.me, f"process {self.process_number} ends: {how}")
        self.node = self.configured = None
        if self._device is not None:
            self._device.forget()
        self.paused = False
        self._due = None
        self.inbox.clear()
        self._waiting.clear()
        self.socket.end()

    def _count(self, node: Node) -> None:
        stats = node.endpoint.srp.stats
        for name in STATS:
            self.totals[name] = self.totals.get(name, 0) + getattr(stats, name)

    def finish(self) -> None:
        """The run is over: count what the last process did."""
        if self.node is not None:
            self._count(self.node)

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
            self.did["without an address"] += 1
            return True  # nobody has the address: it is lost without a word
        self.inbox.put((link, address, data), self.paused)
        return True

    def _read(self) -> None:
        if self.node is None or self.paused:
            return
        batch = self.inbox.take()
        if batch:
            self.node.receive(batch, self.now())
            self._after()

    def refused(self, target: NodeId, link: LinkId) -> None:
        """ICMP port unreachable for something this machine sent."""
        self.do(
            lambda node: node.refused(
                link, self._world.network.address(target, link), "connection refused", True, self.now()
            )
        )

    def clock_jumped(self, seconds: float) -> None:
        """The wall clock was stepped, and the driver sees it (transport/io/driver.py)."""
        before = self.time.date()
        self.time.step(seconds)
        moved = self.time.date() != before

        def renew(node: Node) -> None:
            node.renew_keys(self.now())
            self.did["clock jumped"] += moved

        self.do(renew)

    def set_address(self, link: LinkId, gone: bool) -> None:
        """This machine's own address on `link` vanishes, or is there again."""
        (self._gone.add if gone else self._gone.discard)(link)
        self.do(lambda node: node.set_local(link, GONE if gone else None, self.now()))

    def told_too_big(self, size: int) -> None:
        """Its kernel says of every path that IP packets above `size` bytes do not pass."""

        def tell(node: Node) -> None:
            for (peer, link), address in sorted(node.changes.resolve.items()):
                if peer != self.me:
                    node.too_big(link, address, size, True, self.now())

        self.do(tell)

    def do(self, action: Callable[[Node], None]) -> None:
        """An input for the process; one that is paused gets it when it runs again."""
        if self.node is None:
            return
        if self.paused:
            life = self.process_number
            self._waiting.append(lambda: self.do(action) if life == self.process_number else None)
            return
        action(self.node)
        self._after()

    def _disk_answered(self, receipt: int, error: str | None) -> None:
        if self.shadow is not None:
            self.shadow.disk_answered(receipt, error)
            return
        self.do(lambda node: node.disk_answered([(receipt, error)], self.now()))

    def _file_written(self, file: Persist) -> None:
        if self.shadow is not None:
            self.shadow.file_written(file)
            return
        if self.node is not None:
            self._files.written(file)
        if file.receipt:
            self.do(lambda node: node.file_written(file.receipt, self.now()))
        if self.node is not None and not self.storage.is_writing():
            self._world.minutes.saved(self)

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
            self.time.reach(deadline)  # rounding between this clock and the true one
            now = deadline
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
                else:
                    self.did["without an address"] += 1
            event = node.next_event()
            if event is None:
                break
            self._on_event(event)
            if self.node is not node:
                return
        if self._leaving and node.left:
            self.end("left")
            self._files.close()
            return
        self._arm()

    def _arm(self) -> None:
        assert self.node is not None
        deadline = self.node.next_timeout()
        if deadline is not None and not self.paused:
            self._arm_for(deadline)

    def _arm_for(self, deadline: float) -> None:
        due = self.time.true(deadline)
        if self._due is None or due < self._due:
            clock = self._clock
            self._due = due = due if due > clock.now else clock.now
            clock.at(due, self._timer, due)

    def _on_event(self, event: object) -> None:
        assert self.process is not None
        now = self._world.clock.now
        self._world.processes.heard(self.me, event)
        if self.node is not None:
            self._world.minutes.heard(self, self.node, event)
        match event:
            case AppendLog() | Adopt() | TruncateTail() | Checkpoint() | MarkCommit():
                self.storage.request(event)
            case Persist() | SaveState() | RemovalsChanged() | KeysChanged():
                self._files.write(event)
            case ConfigApplied():
                self._files.write(event)
                if self.node is not None:
                    self._bind(self.node)
            case Removed():
                self._world.clock.after(0.0, self._removed, self.process_number)
            case ConfigurationChange():
                self.process.events.append(Configured(now, event))
                self.configured = event
                if self._device is not None:
                    self._device.ask(event.ring_id)
            case Verdict():
                self.socket.judged(event)
                self.process.events.append(Told(now, event))
                self._world.trace.line(now, self.me, f"quorate {event.quorate} in {event.ring_id} {event.members}")
                self._world.verdict_changed()
            case Outcome():
                self.socket.done(event)
            case BarrierDone():
                self.socket.passed(event.token)
            case BarrierFailed():
                self.socket.failed(event.token)
            case Changed():
                if self.node is not None:
                    self._note_change(self.node, event)
                self.socket.sample()
                for watcher in self._world.watchers:
                    watcher.changed(self.me)
            case Replaced():
                self.socket.rotten = False
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
