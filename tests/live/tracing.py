"""Daemons under strace, and what their traces prove: that no acknowledgement left before its fsyncs had returned (S1).

A trace is read as the bytes that really went through the calls: a request is what the daemon read from a client's
socket, an acknowledgement what it wrote there, a record what it wrote into a log segment; the fsync that covers it is
the first that was begun on that file afterwards, and it counts from the moment at which strace saw it return. All
stamps are of one clock, and where one call causes another their order is that of the stamps: strace stops the process
at the beginning and at the return of a call, and stamps it before it lets it go on.
"""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from clusterd.control import frames

CALLS = "pwrite64,write,writev,sendto,sendmsg,read,recvfrom,recvmsg,fsync,fdatasync"
_LINE = re.compile(r"(\d+) +(\d+\.\d+) (?:<\.\.\. (\w+) resumed>|(\w+)\((\d+)<((?:->|[^<>])*)>)(.*)", re.DOTALL)
_BYTES = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_RESULT = re.compile(r"= (-?\d+)[^<]*<(\d+\.\d+)>$")
_MOST = 64 << 20


@dataclass(slots=True)
class Call:
    """One call that has returned. begun, ended: seconds; file: what the descriptor was, as strace says it."""

    name: str
    file: str
    begun: float
    ended: float
    result: int
    data: bytes = b""


@contextmanager
def traced(pids: dict[int, int], folder: Path) -> Iterator[dict[int, Path]]:
    """strace on each of the processes (key -> pid), all their threads; key -> the file with its trace, whole after."""
    with ExitStack() as stack:
        files = {}
        for key, pid in pids.items():
            files[key] = folder / f"trace{key}"
            options = "-f -yy -xx -s 1000000 --absolute-timestamps=format:unix,precision:ns --syscall-times=ns"
            command = ["strace", *options.split(), "-e", f"trace={CALLS}", "-o", str(files[key]), "-p", str(pid)]
            process = stack.enter_context(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
            stack.callback(process.send_signal, signal.SIGTERM)
            assert process.stderr is not None
            said = process.stderr.readline()
            assert "attached" in said, said
            _all_attached(pid)
        yield files


def _all_attached(pid: int) -> None:
    """strace says "attached" of the first thread; wait until it has the others too."""
    until = time.monotonic() + 10.0
    while any("TracerPid:\t0\n" in file.read_text() for file in Path(f"/proc/{pid}/task").glob("*/status")):
        assert time.monotonic() < until, "strace does not attach"
        time.sleep(0.01)


def read_trace(text: str) -> list[Call]:
    """The calls in the order in which they ended."""
    found: list[Call] = []
    open_: dict[str, tuple[str, str, float, str]] = {}
    for line in text.splitlines():
        match = _LINE.match(line)
        if match is None:
            continue
        thread, stamp, resumed, name, _, file, rest = match.groups()
        begun, ended = float(stamp), None
        if resumed is not None:
            if thread not in open_:
                continue
            ended = begun
            name, file, begun, before = open_.pop(thread)
            rest = before + rest
        elif rest.endswith("<unfinished ...>"):
            open_[thread] = (name, file, begun, rest.removesuffix("<unfinished ...>"))
            continue
        result = _RESULT.search(rest)
        if result is None:
            continue
        data = b"".join(bytes.fromhex(part.replace("\\x", "")) for part in _BYTES.findall(rest))
        ended = begun + float(result[2]) if ended is None else ended
        found.append(Call(name, _readable(file), begun, ended, int(result[1]), data))
    return found


def _readable(file: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), file)


@dataclass(slots=True)
class Acknowledged:
    """A write that a node told a client to be done: when the answer began to leave, and where it says it is on disk."""

    node: int
    path: str
    at: float
    durable_on: list[int] = field(default_factory=list)


def acknowledged(node: int, calls: list[Call]) -> list[Acknowledged]:
    """The answers of a daemon to `fs_put`."""
    asked: dict[tuple[str, int], str] = {}
    sockets: dict[tuple[str, bool], frames.Reader] = {}
    found: list[Acknowledged] = []
    for call in sorted(calls, key=lambda call: call.begun):
        if "UNIX-STREAM" not in call.file or call.result <= 0:
            continue
        reads = call.name in ("read", "recvfrom", "recvmsg")
        reader = sockets.setdefault((call.file, reads), frames.Reader(_MOST, 1 << 20))
        reader.feed(call.data[: call.result])
        while (message := reader.next_message()) is not None:
            if reads and message.get("op") == "fs_put":
                asked[call.file, message["id"]] = message["args"]["path"]
            elif not reads and (path := asked.get((call.file, message.get("id", -1)))) and "ok" in message:
                found.append(Acknowledged(node, path, call.begun, _durable(message["ok"])))
    return found


def _durable(answer: Any) -> list[int]:
    return list(answer["durable_on"])


def on_disk(calls: list[Call], paths: list[str]) -> dict[str, float]:
    """When the log's record of each path was on this node's disk: the first fsync that was begun after it was written,
    and succeeded, had returned."""
    wanted = {path.encode(): path for path in paths}
    name = re.compile(b"|".join(re.escape(path) for path in wanted))
    waiting: dict[str, list[tuple[float, str]]] = {}
    found: dict[str, float] = {}
    written = [call for call in calls if call.name == "pwrite64" and call.file.endswith(".log") and call.result > 0]
    for call in written:
        for path in name.findall(call.data[: call.result]):
            waiting.setdefault(call.file, []).append((call.ended, wanted[path]))
    for call in sorted(calls, key=lambda call: call.ended):
        if call.name in ("fsync", "fdatasync") and call.result == 0:
            for ended, path in waiting.get(call.file, ()):
                if ended <= call.begun and path not in found:
                    found[path] = call.ended
    return found


def judge(acks: list[Acknowledged], disks: dict[int, dict[str, float]], required: int) -> list[str]:
    """A sentence for each acknowledgement that left before its record was on disk on the proposer and on `required`
    nodes in all, and on each node that it names. disks: node -> `on_disk`."""
    problems = []
    for ack in acks:
        held = {node for node, paths in disks.items() if paths.get(ack.path, float("inf")) < ack.at}
        missing = sorted(({ack.node} | set(ack.durable_on)) - held)
        if missing or len(held) < required:
            problems.append(f"{ack.path}: acknowledged by node {ack.node} while on disk on {sorted(held)} only")
    return problems
