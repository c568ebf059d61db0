"""Commands that only look: status, quorum, wait-quorum, nodes, links, events."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from clusterd.cli.context import Context
from clusterd.cli.output import complain
from clusterd.client import Client, Missed, NoDaemon, Timeout
from clusterd.client.session import DEFAULT_TIMEOUT
from clusterd.control.codes import EXIT_STATUS

if TYPE_CHECKING:
    from clusterd.control import shapes

_POLL = 0.05  # seconds between two questions of wait-quorum


def status(context: Context) -> int:
    """Exit 0 if a daemon answers, quorate or not."""
    with context.client() as client:
        answer = client.status()

    def human() -> Any:
        from clusterd.cli import tables

        return tables.status(answer)

    context.show(answer, human)
    return 0


def nodes(context: Context) -> int:
    with context.client() as client:
        answer = client.nodes()

    def human() -> Any:
        from clusterd.cli import tables

        return tables.nodes(answer["nodes"])

    context.show(answer, human)
    return 0


def links(context: Context) -> int:
    with context.client() as client:
        answer = client.links()

    def human() -> Any:
        from clusterd.cli import tables

        return tables.links(answer)

    context.show(answer, human)
    return 0


def quorum(context: Context) -> int:
    """Exit 0 quorate, 4 not; a watch ends with Ctrl-C only."""
    if context["watch"]:
        return _watch_quorum(context)
    with context.client() as client:
        verdict = client.quorum()
    context.show(verdict, lambda: verdict_line(verdict))
    if verdict["quorate"]:
        return 0
    complain(f"not quorate: {verdict['reason']}")
    return EXIT_STATUS["NO_QUORUM"]


def _watch_quorum(context: Context) -> int:
    context.until_interrupted()
    try:
        for verdict in context.client().watch_quorum():
            if context.json:
                context.emit(verdict)
            else:
                context.say(f"{_clock(verdict['time'])}  {verdict_line(verdict)}")
    except KeyboardInterrupt:
        pass
    return 0


def wait_quorum(context: Context) -> int:
    """Ask until the answer is yes; no daemon (also one of the lab that is stopped) is an answer like no quorum."""
    deadline = time.monotonic() + context["timeout"] if context["timeout"] else math.inf
    client: Client | None = None
    reason = ""
    while (left := deadline - time.monotonic()) > 0:
        try:
            client = client or context.client()
            client.timeout = min(DEFAULT_TIMEOUT, left)
            verdict = client.quorum()
            if verdict["quorate"]:
                context.show(verdict, partial(verdict_line, verdict))
                return 0
            reason = verdict["reason"]
        except NoDaemon as error:
            reason = error.message
        time.sleep(max(0.0, min(_POLL, deadline - time.monotonic())))
    raise Timeout(f"not quorate within {context['timeout']:g} s: {reason}")


def events(context: Context) -> int:
    client = context.client()
    context.until_interrupted()
    try:
        while True:
            try:
                for event in client.events():
                    if context.json:
                        context.emit(event)
                    else:
                        context.say(f"{_clock(event['time'])}  {event['type']:<10}  {event['message']}")
            except Missed as missed:  # say so and go on; what happened is in the daemon's log
                complain(missed.message)
    except KeyboardInterrupt:
        return 0


def verdict_line(quorum: shapes.Quorum) -> str:
    word = "quorate" if quorum["quorate"] else "not quorate"
    members = ", ".join(str(node) for node in quorum["members"])
    return f"{word}: {quorum['reason']}; ring {quorum['ring_id'] or '-'}, members {members or '-'}"


def _clock(moment: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(moment)) + f".{int(moment * 1000) % 1000:03d}"
