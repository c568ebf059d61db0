"""Commands on the cluster's file tree."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from clusterd.cli.context import Context
from clusterd.cli.output import complain, printable
from clusterd.client import Failed

if TYPE_CHECKING:
    from clusterd.control import shapes


def put(context: Context) -> int:
    data = _content(context["FILE"])
    with context.client() as client:
        written = client.put(context["PATH"], data, **_how(context))
    context.show(written, lambda: _written(written))
    return 0


def cas(context: Context) -> int:
    data = _content(context["FILE"])
    with context.client() as client:
        written = client.cas(context["PATH"], data, context["revision"], **_how(context))
    context.show(written, lambda: _written(written))
    return 0


def cat(context: Context) -> int:
    """Raw bytes; as JSON the text, or base64 when it is none."""
    with context.client() as client:
        found = client.cat(context["PATH"], linearizable=context["linearizable"] or False, timeout=context["timeout"])
    if not context.json:
        context.write(found["data"])
        return 0
    encoding, text = _text(found["data"])
    context.emit({**found, "encoding": encoding, "data": text})
    return 0


def ls(context: Context) -> int:
    with context.client() as client:
        listing = client.ls(context["PATH"] or "", recursive=context["recursive"] or False)

    def human() -> Any:
        from clusterd.cli import tables

        return tables.entries(listing["entries"]) if listing["entries"] else "empty"

    context.show({key: listing[key] for key in ("path", "revision", "entries")}, human)
    return 0


def stat(context: Context) -> int:
    with context.client() as client:
        entry = client.stat(context["PATH"])

    def human() -> Any:
        from clusterd.cli import tables

        return tables.entries([entry])

    context.show(entry, human)
    return 0


def rm(context: Context) -> int:
    with context.client() as client:
        changed = client.remove(context["PATH"], recursive=context["recursive"] or False, **_how(context))
    context.show(changed, lambda: f"{printable(changed['path'])}  removed at revision {changed['revision']}")
    return 0


def mkdir(context: Context) -> int:
    with context.client() as client:
        changed = client.mkdir(context["PATH"], parents=context["parents"] or False, **_how(context))
    context.show(changed, lambda: f"{printable(changed['path'])}  made at revision {changed['revision']}")
    return 0


def mv(context: Context) -> int:
    with context.client() as client:
        changed = client.move(context["FROM"], context["TO"], **_how(context))
    context.show(changed, lambda: f"{printable(changed['path'])}  is its name since revision {changed['revision']}")
    return 0


def watch(context: Context) -> int:
    client = context.client()
    context.until_interrupted()
    try:
        for change in client.watch(context["PATH"] or "", context["from"], reconnect=False):
            if context.json:
                context.emit(change)
            else:
                to = f" -> {change['to']}" if change["to"] else ""
                context.say(f"{change['revision']:>8}  {change['op']:<5}  {printable(change['path'] + to)}")
    except KeyboardInterrupt:
        pass
    return 0


def outcome(context: Context) -> int:
    with context.client() as client:
        found = client.outcome(context["ID"])
    at = f" at revision {found['revision']}" if found["revision"] else ""
    why = f": {found['message']}" if found["message"] else ""
    context.show(found, lambda: f"{found['outcome']}{at}{why}")
    return 0


def discarded(context: Context) -> int:
    with context.client() as client:
        answer = client.discarded()

    def human() -> Any:
        from clusterd.cli import tables

        return tables.discarded(answer["discarded"]) if answer["discarded"] else "nothing was set aside"

    context.show(answer, human)
    return 0


def _how(context: Context) -> dict[str, Any]:
    """What all writes share."""
    return {"timeout": context["timeout"], "operation_id": context["id"]}


def _content(file: str | None) -> bytes:
    """The bytes to write. Raises Failed with the system's reason."""
    try:
        if file in (None, "-"):
            if sys.stdin is None:  # closed by the caller (`<&-`); an empty file is another wish
                raise Failed("standard input is closed", "nothing was changed; < /dev/null writes an empty file")
            if sys.stdin.isatty():  # else it would look as if it hung
                complain("what is typed here is written; end with Ctrl-D")
            return sys.stdin.buffer.read()
        with open(str(file), "rb") as source:
            return source.read()
    except OSError as error:
        raise Failed(f"{file or 'standard input'}: {error.strerror or error}", "nothing was changed") from None


def _text(data: bytes) -> tuple[str, str]:
    try:
        return "utf-8", data.decode()
    except UnicodeDecodeError:
        from base64 import b64encode

        return "base64", b64encode(data).decode()


def _written(written: shapes.Written) -> str:
    where = ", ".join(str(node) for node in written["durable_on"])
    size = written["size"]
    nodes = f"node{'s' * (len(written['durable_on']) != 1)} {where}"
    bytes_ = f"{size} byte{'s' * (size != 1)}"
    return f"{printable(written['path'])}  revision {written['revision']}, {bytes_}, on disk on {nodes}"
