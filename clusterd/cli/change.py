"""Commands that change the cluster: expected, reload, key rotate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clusterd.cli.context import Context
from clusterd.cli.look import verdict_line

if TYPE_CHECKING:
    from clusterd.control import shapes


def expected(context: Context) -> int:
    with context.client() as client:
        verdict = client.set_expected(context["N"])
    context.show(verdict, lambda: verdict_line(verdict))
    return 0


def reload(context: Context) -> int:
    with context.client() as client:
        answer = client.reload()
    context.show(answer, lambda: _done(answer))
    return 0


def key_rotate(context: Context) -> int:
    with context.client() as client:
        answer = client.rotate_key()
    context.show(answer, lambda: _done(answer))
    return 0


def _done(answer: shapes.Reloaded) -> str:
    lines = [f"configuration {answer['config_version']} is in force"]
    lines += [f"  changed        {what}" for what in answer["changed"]] or ["  nothing changed"]
    lines += [f"  needs restart  {what}" for what in answer["needs_restart"]]
    return "\n".join(lines)
