"""The daemon: builds a node from its files, drives it with sockets, disk and clock, and takes it down in order.

Start: configuration, keys, identity; state from disk; cores; links; the store's worker; the local socket; then ready.
Stop: goodbye to the ring, the local socket, the store (what is queued is written), files. SIGHUP: reload.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cfs.disk import Adopt, AppendLog, Checkpoint, DiskRequest, MarkCommit, TruncateTail
from cfs.io.discarded import Discarded
from cfs.io.store import Store
from cfs.status import BarrierDone, BarrierFailed, Changed, Outcome, Replaced, StatusChanged
from clusterd import __version__, hosts, keystore, promises, removals
from clusterd.backend import NodeBackend
from clusterd.build import Remembered, build
from clusterd.changes import ConfigApplied, KeysChanged, Loaded, Removed
from clusterd.config.schema import ClusterConfig, Who, load
from clusterd.control.credentials import Authority
from clusterd.control.errors import ConfigRefused
from clusterd.control.server import ControlServer
from clusterd.control.shapes import Cut
from clusterd.events import NodeEvent
from clusterd.notify import Notifier
from clusterd.past import WentBack
from clusterd.realtime import spare_new_tree
from clusterd.reconfigure import Concluded
from clusterd.sealed import read_sealed, seal, set_aside
from clusterd.tell import Teller
from clusterd.views import Views
from quorum.io import statefile
from quorum.votequorum import SaveState, Verdict
from transport.core import Log
from transport.errors import ClusterError, WireError
from transport.events import ConfigurationChange, PathChange, Persist
from transport.exchange import RemovedNotice
from transport.ids import LinkId
from transport.io.driver import Driver, clock
from transport.io.files import FileWriter
from transport.io.fork import ForkWatch, has_generation
from transport.io.sockopts import SocketTrouble
from transport.io.udp import UdpSockets
from transport.link.events import Address
from transport.link.links import Resolve

Kept = TypeVar("Kept")

UNRESOLVED = 30.0
"""Seconds for which a host name without an answer counts as having none: longer than any agreement takes."""
LEAVE_GRACE = 0.05
"""Seconds after the goodbye was sent until the sockets close: it is sent twice."""


@dataclass(slots=True)
class Options:
    """The command line of clusterd."""

    config: Path
    key: Path
    identity: Path
    state: Path
    socket: str
    node: str | None = None
    lab: bool = False


@dataclass(slots=True)
class Files:
    """What was read before anything was started."""

    config: ClusterConfig
    key: bytes
    identity: bytes


class Daemon:
    """One clusterd process."""

    version = __version__

    def __init__(self, options: Options, files: Files, log: Log, notifier: Notifier) -> None:
        self._options = options
        self._files = files
        self._log = log
        self._notify = notifier
        self._names: dict[str, str] = {}
        self._who = Who(node=str(files.config.me))
        self._stop = asyncio.Event()
        self._discarded: list[Discarded] = []
        self._failed: str | None = None
        self._removing = False  # the file of removals is being written, the configuration follows
        self._forks: ForkWatch | None = None

    # -- a life ----------------------------------------------------------------------------------------------

    async def run(self, ready: Callable[[], None]) -> int:
        """From start to clean leave; the exit code. ready: called once the node runs, before systemd is told."""
        self._loop = loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._on_loop_error)
        options, config = self._options, self._files.config
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, lambda: None)  # what is being read is the newest there is
        self._names = await hosts.look_up(hosts.names_in(config.transport))
        resolve = hosts.resolve(config.transport, self._names)
        options.state.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._store = Store(options.state / "store")
        image = self._store.open()
        if image.message:
            (self._log.info if image.fresh else self._log.warning)(f"store: {image.message}")
        self._keyring = keystore.restore(self._files.key, read_sealed(options.state / "keyring", self._log))
        remembered = Remembered(
            ring_seq=int.from_bytes(read_sealed(options.state / "ringseq", self._log) or b"", "big"),
            quorum=statefile.load(options.state / statefile.NAME, self._log),
            store=image,
            removals=self._read(removals.NAME, removals.decode, removals.Removals()),
            promises=self._read(promises.NAME, promises.decode, promises.Promises()),
        )
        now = clock()
        self.node = node = build(
            Loaded(config, resolve),
            self._load,
            self._files.identity,
            self._keyring,
            remembered,
            lambda: int(time.time()),
            os.urandom,
            now,
            self._log,
        )
        self._driver: Driver[NodeEvent] = Driver(loop, node, self._on_event, self._clock_jumped)
        self._views = Views(node, self.version, now, clock, time.time)
        self.backend = NodeBackend(loop, node, self._driver, self._views, self)
        self._teller = Teller(node, self._log, self._notify, self.backend.told_event, loop.call_later)
        self._writer = FileWriter(loop, self._on_write_error)
        self._sockets = UdpSockets(loop, self._bindings(resolve), self._driver.datagrams, self._on_trouble)
        self._driver.attach(self._sockets)
        self._watch_generation()
        cuts = os.environ.get("CLUSTERD_LAB_CUTS")
        if options.lab and cuts:  # in force from the first datagram on, before the lab can tell them
            from clusterd.lab.cuts import read

            self.set_cuts(read(cuts))
        self._store.start(loop, self._on_disk)
        group = _gid(config.gids, self._log)
        self._server = ControlServer(
            self.backend, options.socket, self._log, lab=options.lab, authority=Authority(group=group)
        )
        self._refresh_discarded()
        await self._server.start()
        loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._driver.call(node.start)
        self._beat()
        ready()
        self._notify.ready(f"node {config.me}: forming a ring")
        try:
            await self._stop.wait()
        finally:
            await self._shut_down()
        if self._failed:
            self._log.error(self._failed)
            return 1
        return 0

    def _on_loop_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A core raised: a mistake of ours, and nobody knows what it left half done. The process ends at once, as if
        killed; a new one starts from what is on disk. What a single request runs into costs only that request."""
        error = context.get("exception")
        if error is None or "handle" not in context:
            loop.default_exception_handler(context)
            return
        where = "".join(traceback.format_exception(error))
        self._log.error(f"clusterd met a mistake of its own and ends, to start anew from its disk: {error!r}")
        print(where, file=sys.stderr, flush=True)
        os._exit(1)

    async def _shut_down(self) -> None:
        self._notify.stopping("leaving the cluster")
        self._log.info("leaving the cluster")
        self._driver.call(self.node.leave)
        self.backend.leave()
        for _ in range(20):
            await asyncio.sleep(LEAVE_GRACE / 5)
            if self.node.left:
                break
        await asyncio.sleep(LEAVE_GRACE)  # the goodbye's second copy
        await self._server.close()
        self._driver.close()
        self._sockets.close()
        if self._forks is not None:
            self._forks.close()
        await asyncio.to_thread(self._store.close)
        await asyncio.to_thread(self._writer.close)
        self._notify.close()

    # -- what the node says ----------------------------------------------------------------------------------

    def _on_event(self, event: NodeEvent) -> None:
        match event:
            case AppendLog() | MarkCommit() | TruncateTail() | Adopt() | Checkpoint():
                self._on_request(event)
            case Outcome():
                self.backend.told_outcome(event)
            case Changed() | Replaced():
                self.backend.told_change(replaced=isinstance(event, Replaced))
                self._teller.store(event)
                if isinstance(event, Replaced):
                    spare_new_tree()
            case BarrierDone() | BarrierFailed():
                self.backend.told_barrier(event)
            case Verdict():
                self._teller.verdict(event)
                self.backend.told_verdict()
            case ConfigurationChange():
                self._teller.membership(event)
            case PathChange():
                self._teller.path(event)
            case StatusChanged():
                self._teller.store_status()
                self._refresh_discarded()
                self.backend.told_store_status()
            case Persist():
                receipt = event.receipt
                self._writer.write(
                    self._options.state / event.name,
                    seal(event.value),
                    lambda: self._driver.call(self.node.file_written, receipt),
                )
            case SaveState():
                self._writer.write(self._options.state / statefile.NAME, statefile.encode(event.state))
            case ConfigApplied():
                self._on_config(event)
            case KeysChanged():
                self._on_keys(event)
            case removals.RemovalsChanged():
                self._removing = True
                self._writer.write(self._options.state / removals.NAME, seal(event.data), self._removals_written)
            case Concluded():
                self._writer.when_saved(lambda saved: self.backend.told_concluded(event, saved))
            case WentBack():
                self._went_back([self.node.changes.config.name_of(node) for node in event.tellers])
            case Removed() | RemovedNotice():
                self._teller.removed(event)
                if isinstance(event, Removed):
                    self._stop.set()
            case _:
                pass  # groups have no local clients yet but the tests'

    def _on_request(self, request: DiskRequest) -> None:
        self._store.submit(request)

    def _on_disk(self, answers: list[tuple[int, str | None]]) -> None:
        if not self._driver.closed:
            self._driver.call(self.node.disk_answered, answers)

    def _read(self, name: str, decode: Callable[[bytes], Kept], none: Kept) -> Kept:
        """A sealed file of the state directory; `none` where there is none, or it cannot be read."""
        path = self._options.state / name
        data = read_sealed(path, self._log)
        try:
            return none if data is None else decode(data)
        except WireError as error:
            set_aside(path, self._log)
            self._log.warning(f"{path} cannot be read: {error}")
            return none

    def _removals_written(self) -> None:
        self._removing = False
        self._write_config()

    def _write_config(self) -> None:
        if not self._removing:  # it alone would not say who was removed
            self._writer.write(self._options.config, self.node.changes.config.text, mode=0o640)

    def _on_config(self, event: ConfigApplied) -> None:
        self._write_config()
        for line in event.config.warnings:
            self._log.warning(line)
        self._sockets.reconfigure(self._bindings(self.node.changes.resolve))
        self._teller.config(event)

    def _on_keys(self, event: KeysChanged) -> None:
        key, saved = keystore.save(self._keyring)
        # The keyring first: an authkey newer than it would be taken for one put there by hand, and start anew.
        self._writer.write(
            self._options.state / "keyring", seal(saved), lambda: self._writer.write(self._options.key, key)
        )
        self._teller.say("config", event.message, {})

    def _on_trouble(self, trouble: SocketTrouble) -> None:
        if self._driver.closed:
            return
        node = self.node
        if trouble.kind in ("refused", "unreachable") and trouble.address is not None:
            self._driver.call(node.refused, trouble.link, trouble.address, trouble.reason, trouble.sure)
        elif trouble.kind == "too_big" and trouble.address is not None:
            self._driver.call(node.too_big, trouble.link, trouble.address, trouble.size, trouble.sure)
        elif trouble.kind in ("bound", "unbound"):
            unbound = trouble.kind == "unbound"
            (self._log.warning if unbound else self._log.info)(f"link {trouble.link}: {trouble.reason}")
            self._driver.call(node.set_local, trouble.link, trouble.reason if unbound else None)

    def _on_write_error(self, path: Path, reason: str) -> None:
        self._log.error(f"{path}: cannot be written ({reason}); trying again every second")

    # -- configuration ---------------------------------------------------------------------------------------

    def _load(self, text: bytes) -> Loaded | None:
        """Check a configuration for this node; None while a host name in it is being resolved."""
        config = load(text, self._who, str(self._options.config))
        unknown = hosts.names_in(config.transport) - self._names.keys()
        if unknown:
            self._loop.create_task(self._resolve(unknown))
            return None
        resolve = hosts.resolve(config.transport, self._names)
        here = {ip: hosts.is_local(ip) for (node, _), (ip, _) in resolve.items() if node == config.me}
        own = config.transport.nodes[config.me].addresses
        foreign = tuple(own[link] for link in sorted(own) if not here.get(resolve.get((config.me, link), ("", 0))[0]))
        return Loaded(config, resolve, foreign)

    async def _resolve(self, names: set[str]) -> None:
        # A name without an answer is remembered as no address, so that the change is judged and not asked for again;
        # but not for long: the resolver may be back for the next reload.
        self._names |= dict.fromkeys(names, "") | await hosts.look_up(names)
        self._driver.call(self.node.resolved)
        self._loop.call_later(UNRESOLVED, self._forget_unresolved)

    def _forget_unresolved(self) -> None:
        self._names = {name: ip for name, ip in self._names.items() if ip}

    def read_config(self) -> bytes:
        """The configuration file as it is now. Raises ClusterError."""
        try:
            return self._options.config.read_bytes()
        except OSError as error:
            raise ClusterError(f"{self._options.config}: cannot be read: {error.strerror}") from error

    def _hang_up(self) -> None:
        self._loop.create_task(self._reload())

    async def _reload(self) -> None:
        self._notify.reloading(time.monotonic_ns() // 1000)
        try:
            await self.backend.reload()
        except ConfigRefused as error:
            for line in error.problems or (str(error),):
                self._log.error(f"configuration not changed: {line}")
        except ClusterError as error:
            self._log.error(f"configuration not changed: {error}")
        self._notify.ready(self._teller.status)

    def _bindings(self, resolve: Resolve) -> dict[LinkId, Address]:
        return {link: address for (node, link), address in resolve.items() if node == self.node.me}

    # -- the lab, the clock, the watchdog --------------------------------------------------------------------

    def set_cuts(self, cuts: list[Cut]) -> None:
        """See Backend.lab_cuts."""
        me, resolve = self.node.me, self.node.changes.resolve
        ways: dict[tuple[str, LinkId], set[str]] = {}
        for cut in cuts:
            outgoing = cut["from"] == me
            peer = cut["to"] if outgoing else cut["from"]
            address = resolve.get((peer, cut["link"]))
            if address is not None and me in (cut["from"], cut["to"]):
                ways.setdefault((address[0], cut["link"]), set()).add("out" if outgoing else "in")
        self._sockets.set_cuts(
            {key: "both" if len(way) == 2 else "in" if "in" in way else "out" for key, way in ways.items()}
        )

    def discarded(self) -> list[Discarded]:
        """What the store set aside, as last read from disk."""
        return self._discarded

    def _refresh_discarded(self) -> None:
        def read(future: asyncio.Future[list[Discarded]]) -> None:
            with contextlib.suppress(OSError):
                self._discarded = future.result()

        self._loop.run_in_executor(None, self._store.discarded).add_done_callback(read)

    def _clock_jumped(self, seconds: float) -> None:
        """The wall clock was stepped, as after a restored snapshot: packet counters may have been used (DESIGN 6)."""
        if not self._driver.closed:
            self._log.warning(f"the clock jumped by {seconds:+.1f} s: new keys with all nodes")
            self.node.renew_keys(clock())

    def _watch_generation(self) -> None:
        if has_generation():
            try:
                self._forks = ForkWatch(self._loop, self._machine_forked)
            except OSError as error:
                why = f"not told of a new generation id of this virtual machine ({error.strerror})"
                self._log.warning(f"{why}: after going on from a snapshot of its memory, restart clusterd")

    def _machine_forked(self, sure: bool) -> None:
        """This machine goes on from a snapshot, or is a copy of another (DESIGN 6).

        All that is in memory is of the past: counters used since, a ring that went on, claims of what is on the disk,
        and by this clock, which was put back too, a verdict that has long run out (Q4). A new process believes only
        its disk, and the others judge that. Where it is not sure, new keys must do: a used counter is the worst of it.
        """
        if sure:
            self._log.warning("this virtual machine goes on from a snapshot or as a copy: clusterd starts anew")
            os._exit(1)
        self._log.warning("this virtual machine may go on from a snapshot: new keys with all nodes")
        self._driver.call(self.node.renew_keys)

    def _went_back(self, tellers: list[str]) -> None:
        """The same, and no hypervisor told: other nodes remember what this process has not done yet."""
        who = f"{', '.join(tellers)} remember{'s' if len(tellers) == 1 else ''} more of this node than it does itself"
        self._log.warning(f"{who}: its machine was put back to a snapshot with its memory; clusterd starts anew")
        os._exit(1)

    def _beat(self) -> None:
        if self._notify.watchdog_interval is not None:
            self._notify.alive()
            self._loop.call_later(self._notify.watchdog_interval, self._beat)


def _gid(groups: tuple[str, ...], log: Log) -> int | None:
    """The first group that exists, of those that may change things."""
    import grp

    for name in groups:
        try:
            return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
        except KeyError:
            log.warning(f"The '{name}' group is not found in /etc/group")
    return None
