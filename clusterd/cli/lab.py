"""Commands of the lab."""

from __future__ import annotations

import sys
import time
from typing import Any

from clusterd.cli.context import Context
from clusterd.cli.output import own_name
from clusterd.client import ClientError
from clusterd.lab import actions, layout, waiting
from clusterd.lab.layout import Lab

_VIEW_PATIENCE = 0.5  # seconds a daemon has to tell its view for the table of `lab status`
_LOG_LINES = 15


def up(context: Context) -> int:
    """Make the lab, or find it as asked, and wait until it is one cluster."""
    began = time.monotonic()
    deadline = began + context["timeout"]
    progress = _progress(context)
    try:
        lab = actions.up(
            context.lab_name,
            context["N"] or 3,
            context["links"],
            context["base"],
            context["dir"],
            context["votes"],
            context["set"] or [],
            deadline,
            progress,
        )
        if not context["no-wait"]:
            waiting.whole(lab, deadline, progress)
    except ClientError as error:
        _show_log(context, error)
        raise
    if not context.json and not context["no-wait"]:
        nodes = "1 node is a cluster" if len(lab.ids) == 1 else f"{len(lab.ids)} nodes are one cluster"
        context.say(f"{nodes}, after {time.monotonic() - began:.1f} s")
    _show(context, lab)
    if not context.json:
        ctl = own_name() + ("" if lab.name == layout.DEFAULT else f" --lab {lab.name}")
        context.say(f"Talk to it: {ctl} --node 1 status\nEnd it:     {ctl} lab down")
    return 0


def status(context: Context) -> int:
    _show(context, layout.need(context.lab_name))
    return 0


def kill(context: Context) -> int:
    return _signalled(context, actions.kill, "killed")


def stop(context: Context) -> int:
    return _signalled(context, actions.stop, "left and stopped")


def pause(context: Context) -> int:
    return _signalled(context, actions.pause, "paused")


def resume(context: Context) -> int:
    return _signalled(context, actions.resume, "runs again")


def start(context: Context) -> int:
    """Start nodes and wait until they are in a stable ring with all they can reach."""
    lab = layout.need(context.lab_name)
    nodes = lab.nodes(context["N"])
    deadline = time.monotonic() + context["timeout"]
    progress = _progress(context)
    try:
        actions.start(lab, nodes, deadline, progress)
        if not context["no-wait"]:
            waiting.stable(lab, nodes, deadline, progress)
    except ClientError as error:
        _show_log(context, error)
        raise
    _show(context, lab)
    return 0


def cut(context: Context) -> int:
    lab = layout.need(context.lab_name)
    actions.cut(lab, context["A"], context["B"], context["link"], bool(context["one-way"]))
    _show(context, lab)
    return 0


def heal(context: Context) -> int:
    lab = layout.need(context.lab_name)
    actions.heal(lab, context["A"], context["B"], context["link"], bool(context["one-way"]))
    _show(context, lab)
    return 0


def down(context: Context) -> int:
    """Also fine when there is none."""
    name, keep = context.lab_name, bool(context["keep"])
    directory = layout.home(name)
    was = actions.down(name, keep)
    words = (
        "there is no lab of that name" if not was else f"stopped, its files are in {directory}" if keep else "removed"
    )
    context.show({"lab": name, "was_there": was, "removed": was and not keep}, lambda: f"lab {name}: {words}")
    return 0


def _signalled(context: Context, action: Any, word: str) -> int:
    lab = layout.need(context.lab_name)
    records = action(lab, lab.nodes(context["N"]))

    def human() -> str:
        lines = [
            f"node {record['id']} {word} (pid {record['pid']})" if record["pid"] else f"node {record['id']} did not run"
            for record in records
        ]
        return "\n".join(lines)

    context.show({"nodes": records}, human)
    return 0


def _show(context: Context, lab: Lab) -> None:
    answer = actions.status(lab)

    def human() -> Any:
        from clusterd.cli import tables

        return tables.lab(answer, waiting.views(lab, _VIEW_PATIENCE))

    context.show(answer, human)


def _progress(context: Context) -> waiting.Progress:
    """What is waited for, as one changing line; only for somebody who watches."""

    def tell(what: str) -> None:
        if not context.json and sys.stdout.isatty():
            sys.stdout.write(f"\r\x1b[2K{what[:78]}\r")
            sys.stdout.flush()

    return waiting.Progress(tell)


def _show_log(context: Context, error: ClientError) -> None:
    """The end of the log of a node that did not start: on stdout, stderr has its one line."""
    lines = error.details.get("log")
    if lines and not context.json:
        context.say("\n".join(f"| {line}" for line in lines))
