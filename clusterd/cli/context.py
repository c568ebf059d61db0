"""What a command works with: its values, the daemon it talks to, and how it speaks to the user."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from clusterd.cli.output import write
from clusterd.client import Client, ClientError, NoDaemon, UsageError
from clusterd.control.codes import DEFAULT_SOCKET

if TYPE_CHECKING:
    from rich.console import RenderableType


class Context:
    """values: of the command's arguments and options. options: the general ones."""

    def __init__(self, values: Mapping[str, Any], options: Mapping[str, Any]) -> None:
        self.values = values
        self.options = options
        self.json = bool(options["json"])
        self._endless = False

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
            raise NoDaemon(f"node {ident} of lab {lab.name!r} is {state}", lab.command(f"start {ident}"), ident)
        if state == "paused":
            raise NoDaemon(f"node {ident} of lab {lab.name!r} is paused", lab.command(f"resume {ident}"), ident)
        return lab.socket(ident)

    def hint(self, error: ClientError) -> str:
        """What may be done: who has a lab and names no node gets no answer from the daemon of the host."""
        if not isinstance(error, NoDaemon) or any(self.options[name] for name in ("socket", "node")):
            return error.hint
        if "CLUSTERD_SOCKET" in os.environ:
            return error.hint
        from clusterd.lab import layout

        lab = layout.load(self.lab_name)
        return error.hint if lab is None else f"{error.hint} For the lab add --node 1".strip()

    def client(self) -> Client:
        return Client(self.socket(), name="clusterctl")

    # speaking

    def until_interrupted(self) -> None:
        """Make ready for a long life that ends with SIGINT, also where a shell in the background had it ignored."""
        gc.enable()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._endless = True

    def emit(self, answer: Mapping[str, Any]) -> None:
        """One object, one line, at once."""
        self.write(json.dumps(answer) + "\n")

    def show(self, answer: Mapping[str, Any], human: Any) -> None:
        """The answer as JSON, or what `human()` makes of it: text or something rich prints."""
        if self.json:
            self.emit(answer)
        else:
            self.say(human())

    def say(self, what: RenderableType) -> None:
        """Text as it is; tables and the like through rich."""
        if isinstance(what, str):
            self.write(what + "\n")
        else:
            from clusterd.cli.tables import drawn

            self.write(drawn(what) + "\n")

    def write(self, text: str | bytes) -> None:
        """As it is, at once. Raises OutputLost; BrokenPipeError for a stream nobody reads any more."""
        write(text, self._endless)
