"""What a command works with: its values, the daemon it talks to, and how it speaks to the user."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clusterd.client import Client, NoDaemon, UsageError
from clusterd.control.codes import DEFAULT_SOCKET

if TYPE_CHECKING:
    from rich.console import RenderableType


class Context:
    """values: of the command's arguments and options. options: the general ones."""

    def __init__(self, values: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self.values = values
        self.options = options
        self.json = bool(options["json"])

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    @property
    def lab_name(self) -> str:
        return str(self.options["lab"] or os.environ.get("CLUSTERD_LAB") or "default")

    def socket(self) -> str:
        """The daemon's socket. Raises UsageError, NotFound (lab or node), NoDaemon (lab node stopped or paused)."""
        path, node = self.options["socket"], self.options["node"]
        if path and node:
            raise UsageError("--socket and --node exclude each other", "clusterctl --help")
        if self.options["lab"] and not node:
            raise UsageError("--lab needs --node N here", "clusterctl --help")
        if node:
            return self._lab_socket(node)
        return str(path or os.environ.get("CLUSTERD_SOCKET") or DEFAULT_SOCKET)

    def _lab_socket(self, node: str) -> str:
        from clusterd.lab.layout import need
        from clusterd.lab.process import look

        lab = need(self.lab_name)
        ident = lab.node(node)
        state = look(lab.node_dir(ident)).state
        if state in ("stopped", "failed"):
            raise NoDaemon(f"node {ident} of lab {lab.name!r} is {state}", f"clusterctl lab start {ident}", ident)
        if state == "paused":
            raise NoDaemon(f"node {ident} of lab {lab.name!r} is paused", f"clusterctl lab resume {ident}", ident)
        return lab.socket(ident)

    def client(self) -> Client:
        return Client(self.socket(), name="clusterctl")

    # speaking

    def emit(self, answer: Mapping[str, Any]) -> None:
        """One object, one line, at once."""
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()

    def show(self, answer: Mapping[str, Any], human: Any) -> None:
        """The answer as JSON, or what `human()` makes of it: text or something rich prints."""
        if self.json:
            self.emit(answer)
        else:
            self.say(human())

    def say(self, what: RenderableType) -> None:
        """Text as it is; tables and the like through rich."""
        if isinstance(what, str):
            sys.stdout.write(what + "\n")
            sys.stdout.flush()
        else:
            from clusterd.cli.tables import console

            console().print(what)


def complain(message: str, hint: str = "") -> None:
    """The one line on stderr."""
    line = f"clusterctl: {message}" + (f" ({hint})" if hint else "")
    sys.stderr.write(" ".join(line.split()) + "\n")
    sys.stderr.flush()
