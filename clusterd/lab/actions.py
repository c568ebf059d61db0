"""What `clusterctl lab` does, as functions: up, start, kill, stop, pause, resume, cut, heal, down."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from typing import Any

from clusterd.client import ConfigRefused, Conflict, Failed, NoDaemon, UsageError
from clusterd.lab import cuts, files, layout, process, waiting
from clusterd.lab.layout import Lab
from clusterd.lab.ports import free_base
from clusterd.lab.waiting import Progress

KILL_AFTER = 5.0  # seconds a clean leave may take in `lab down`
_STOP_WAIT = 10.0
_SIGNAL_WAIT = 5.0

Record = dict[str, Any]


def daemon_command(lab: Lab, ident: int) -> list[str]:
    """The command line of a node's daemon: clusterd, with this interpreter."""
    directory = lab.node_dir(ident)
    command = [sys.executable, "-m", "clusterd", "--config", lab.config(ident), "--key", f"{directory}/authkey"]
    return [*command, "--state", f"{directory}/state", "--socket", lab.socket(ident), "--node", f"n{ident}", "--lab"]


def up(
    name: str,
    nodes: int,
    links: int,
    base: int | None,
    directory: str | None,
    votes: list[int] | None,
    settings: list[str],
    deadline: float,
    progress: Progress,
) -> Lab:
    """Make the lab, or find it with this very shape; start what does not run and wake what is paused.

    Returns when every daemon answers, which is before they are one cluster. deadline: on time.monotonic.
    Raises UsageError, ConfigRefused (a --set that is none: no lab is left), Conflict (a lab of another shape, a
    directory or addresses in use), Failed, Timeout.
    """
    if votes is not None and len(votes) != nodes:
        raise UsageError(f"--votes: {len(votes)} numbers for {nodes} nodes")
    files.Settings(settings)
    with layout.locked(name):
        lab = layout.load(name)
        shape = {"nodes": nodes, "links": links, "votes": votes or [1] * nodes, "set": settings}
        if lab is None:
            with free_base(base, nodes, links, _bases_in_use()) as free:
                lab = _create(name, {**shape, "base": free}, directory)
                _start(lab, lab.ids)
                try:
                    waiting.answering(lab, lab.ids, deadline, progress)  # the addresses are theirs now
                except ConfigRefused:  # a --set that is none: nothing has run, nothing is worth keeping
                    _end_all(lab, keep=False)
                    raise
            return lab
        _same_shape(lab, {**shape, "base": base or lab.base}, directory)
        resume(lab, [ident for ident in lab.ids if process.look(lab.node_dir(ident)).state == "paused"])
        _start(lab, lab.ids)
    _told(lab, lab.ids, deadline, progress)
    return lab


def _create(name: str, shape: dict[str, Any], directory: str | None) -> Lab:
    place = layout.home(name)
    if directory is not None:
        path = os.path.abspath(directory)
        if os.path.exists(path) and (not os.path.isdir(path) or os.listdir(path)):
            raise Conflict(f"{path} exists and is not an empty directory", "give another --dir")
        try:
            os.makedirs(path, mode=0o700, exist_ok=True)
        except OSError as error:
            raise Failed(f"{path} cannot be made: {error.strerror}", "give another --dir") from None
        with contextlib.suppress(FileNotFoundError):
            os.unlink(place)  # a link left behind by a lab whose directory was removed by hand
        os.symlink(path, place)
    else:
        if os.path.islink(place):
            os.unlink(place)
        shutil.rmtree(place, ignore_errors=True)  # what an interrupted `lab up` left: no lab.json, so no lab
        os.mkdir(place, 0o700)
        path = place
    lab = Lab(name, os.path.realpath(path), shape)
    try:
        files.write(lab)
    except OSError as error:
        raise Failed(f"{error.filename or path}: {error.strerror}", "give another --dir") from None
    layout.write_json(f"{lab.directory}/lab.json", lab.shape())
    return lab


def _same_shape(lab: Lab, wanted: dict[str, Any], directory: str | None) -> None:
    have = lab.shape()
    differs = [f"{key} {have[key]}, not {wanted[key]}" for key in have if have[key] != wanted[key]]
    if directory is not None and os.path.realpath(directory) != lab.directory:
        differs.append(f"directory {lab.directory}")
    if differs:
        raise Conflict(
            f"lab {lab.name!r} exists with another shape: {'; '.join(differs)}", f"{lab.command('down')} first"
        )


def _bases_in_use() -> set[int]:
    """Those of this user's labs, also of stopped ones: they will want their addresses again."""
    labs = [layout.load(name) for name in layout.names()]
    return {lab.base for lab in labs if lab is not None}


def start(lab: Lab, nodes: list[int], deadline: float, progress: Progress) -> None:
    """Start those that do not run, with the state they had and the cuts in force. Returns when they answer.

    Raises NoDaemon for a paused one, Failed, Timeout.
    """
    with layout.locked(lab.name):
        for ident in nodes:
            if process.look(lab.node_dir(ident)).state == "paused":
                raise NoDaemon(f"node {ident} is paused", lab.command(f"resume {ident}"), ident)
        _start(lab, nodes)
    _told(lab, nodes, deadline, progress)


def _told(lab: Lab, nodes: list[int], deadline: float, progress: Progress) -> None:
    """Wait for the daemons, and say what is cut again: it may have changed since they read it."""
    waiting.answering(lab, nodes, deadline, progress)
    with layout.locked(lab.name):
        for ident in nodes:
            cuts.tell(lab, ident)


def _start(lab: Lab, nodes: list[int]) -> None:
    for ident in nodes:
        if process.look(lab.node_dir(ident)).pid is None:
            _spawn(lab, ident)


def _spawn(lab: Lab, ident: int) -> None:
    """Start the keeper, which starts the daemon and stays its parent."""
    import clusterd
    from clusterd.lab import keeper

    directory = lab.node_dir(ident)
    source = os.path.dirname(os.path.dirname(os.path.abspath(str(clusterd.__file__))))
    path = [source, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, cuts.ENVIRONMENT: lab.cuts_file, "PYTHONPATH": os.pathsep.join(path)}
    try:
        # The keeper outlives us, and nobody here waits for it.
        parent = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, directory, *daemon_command(lab, ident)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=directory,
            env=environment,
            start_new_session=True,
        )
    except OSError as error:
        raise Failed(f"node {ident} cannot be started: {error.strerror}", "", ident) from None
    assert parent.stdout is not None
    with parent.stdout as told:
        started = told.readline()
    parent.returncode = 0  # not our child to reap: it is re-parented when we end
    if not started:
        raise Failed(f"node {ident} cannot be started", f"its log: {lab.log(ident)}", ident)


def kill(lab: Lab, nodes: list[int]) -> list[Record]:
    """SIGKILL; returns when they are gone."""
    return _end(lab, nodes, signal.SIGKILL, _SIGNAL_WAIT)


def stop(lab: Lab, nodes: list[int]) -> list[Record]:
    """SIGTERM; returns when they have left cleanly and ended. A paused one is woken for it."""
    return _end(lab, nodes, signal.SIGTERM, _STOP_WAIT)


def _end(lab: Lab, nodes: list[int], number: signal.Signals, patience: float) -> list[Record]:
    with layout.locked(lab.name):
        records, handles = _signal(lab, nodes, number)
        deadline = time.monotonic() + patience
        slow = [ident for ident, one in handles.items() if not one.wait_end(max(0.0, deadline - time.monotonic()))]
        for one in handles.values():
            one.close()
    if slow:
        raise Failed(
            f"node {slow[0]} still runs {patience:g} s after {number.name}", lab.command(f"kill {slow[0]}"), slow[0]
        )
    return records


def _signal(lab: Lab, nodes: list[int], number: signal.Signals) -> tuple[list[Record], dict[int, process.Handle]]:
    """Signal each that runs. `time` is taken just before the signal."""
    records: list[Record] = []
    handles: dict[int, process.Handle] = {}
    for ident in nodes:
        try:
            one = process.Handle(lab.node_dir(ident))
        except ProcessLookupError:
            records.append({"id": ident, "pid": None, "time": time.time()})
            continue
        handles[ident] = one
        if number in (signal.SIGKILL, signal.SIGTERM):
            process.expect_end(one.directory, one.pid)
        moment = time.time()
        one.send(number)
        if number == signal.SIGTERM:
            one.send(signal.SIGCONT)
        records.append({"id": ident, "pid": one.pid, "time": moment})
    return records, handles


def pause(lab: Lab, nodes: list[int]) -> list[Record]:
    """SIGSTOP; returns when they are stopped. Raises NoDaemon for one that does not run, before anything is done."""
    return _freeze(lab, nodes, signal.SIGSTOP)


def resume(lab: Lab, nodes: list[int]) -> list[Record]:
    """SIGCONT, and tell them what was cut meanwhile."""
    return _freeze(lab, nodes, signal.SIGCONT)


def _freeze(lab: Lab, nodes: list[int], number: signal.Signals) -> list[Record]:
    for ident in nodes:
        if process.look(lab.node_dir(ident)).pid is None:
            raise NoDaemon(f"node {ident} does not run", lab.command(f"start {ident}"), ident)
    was_paused = [ident for ident in nodes if process.look(lab.node_dir(ident)).state == "paused"]
    records, handles = _signal(lab, nodes, number)
    for one in handles.values():
        one.wait_paused(number == signal.SIGSTOP, _SIGNAL_WAIT)
        one.close()
    if number == signal.SIGCONT:
        for ident in was_paused:
            cuts.tell(lab, ident)
    return records


def cut(lab: Lab, first: str, second: str, link: int | None, one_way: bool) -> None:
    """In force on return on all running nodes."""
    with layout.locked(lab.name):
        cuts.change(lab, cuts.ways_between(lab, first, second, link, one_way), cut=True)


def heal(lab: Lab, first: str | None, second: str | None, link: int | None, one_way: bool) -> None:
    """End cuts; without nodes all of them (of that link)."""
    with layout.locked(lab.name):
        ways = cuts.ways_between(lab, first or "all", second or "all", link, one_way) if len(lab.ids) > 1 else []
        cuts.change(lab, ways, cut=False)


def down(name: str, keep: bool) -> bool:
    """A clean leave of all, SIGKILL after 5 s, the directory removed unless keep. Whether there was a lab."""
    with layout.locked(name):
        lab = layout.load(name)
        if lab is None:
            return False
        _end_all(lab, keep)
    return True


def _end_all(lab: Lab, keep: bool) -> None:
    _, handles = _signal(lab, lab.ids, signal.SIGTERM)
    give_up = time.monotonic() + KILL_AFTER
    for one in handles.values():
        if not one.wait_end(max(0.0, give_up - time.monotonic())):
            one.send(signal.SIGKILL)
            one.wait_end(_SIGNAL_WAIT)
        one.close()
    if not keep:
        _remove(lab)


def _remove(lab: Lab) -> None:
    place = layout.home(lab.name)
    shutil.rmtree(lab.directory, ignore_errors=True)
    if os.path.islink(place):
        os.unlink(place)


def status(lab: Lab) -> Record:
    """The object of `lab status`."""
    rows = []
    for ident in lab.ids:
        found = process.look(lab.node_dir(ident))
        rows.append(
            {
                "id": ident,
                "name": f"n{ident}",
                "state": found.state,
                "pid": found.pid,
                "exit": found.exit,
                "socket": lab.socket(ident),
                "log": lab.log(ident),
                "config": lab.config(ident),
                "addresses": lab.addresses(ident),
            }
        )
    return {
        "lab": lab.name,
        "dir": lab.directory,
        "base": lab.base,
        "links": lab.links,
        "nodes": rows,
        "cuts": cuts.read(lab.cuts_file),
    }
