"""What people see: tables by rich. Loaded only when one is printed; `--json` never comes here."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from clusterd.cli.output import printable

if TYPE_CHECKING:
    from clusterd.control import shapes

_PIPE_WIDTH = 500  # into a pipe nothing is cut or wrapped, unless COLUMNS says how wide it is
_GOOD, _BAD, _DIM = "green", "bold red", "dim"


def drawn(what: RenderableType) -> str:
    """As wide as the terminal, and coloured for it. Text is text: no markup, no emoji codes in a cluster's name."""
    terminal = sys.stdout.isatty()
    page = io.StringIO()
    Console(
        file=page,
        force_terminal=terminal or None,
        width=None if terminal or "COLUMNS" in os.environ else _PIPE_WIDTH,
        highlight=False,
        markup=False,
        emoji=False,
    ).print(what)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def status(answer: shapes.Status) -> RenderableType:
    """The facts of `pvecm status` in its order, then the store's."""
    quorum, ring, cluster, store = answer["quorum"], answer["ring"], answer["cluster"], answer["store"]
    votes = quorum["votes"]
    activity = "" if quorum["quorate"] else "Activity blocked"
    return Group(
        _section("Cluster information"),
        _facts(
            ("Name", cluster["name"]),
            ("Config Version", cluster["config_version"]),
            ("Transport", cluster["transport"]),
            ("Secure auth", "on" if cluster["secure_auth"] else "off"),
        ),
        _section("Quorum information"),
        _facts(
            ("Date", time.strftime("%a %b %e %H:%M:%S %Y", time.localtime(answer["time"]))),
            ("Quorum provider", "corosync_votequorum"),
            ("Nodes", len(quorum["members"])),
            ("Node ID", f"{answer['node']['id']} ({answer['node']['name']})"),
            ("Ring ID", f"{ring['id'] or '-'}" + ("" if ring["phase"] == "operational" else f" ({ring['phase']})")),
            ("Quorate", Text("Yes", _GOOD) if quorum["quorate"] else Text("No", _BAD)),
        ),
        _section("Votequorum information"),
        _facts(
            ("Expected votes", votes["expected"]),
            ("Highest expected", votes["highest"]),
            ("Total votes", votes["total"]),
            ("Quorum", Text.assemble(f"{votes['quorum']} ", (activity, _BAD))),
            ("Flags", " ".join(quorum["flags"])),
            *([] if quorum["quorate"] else [("Reason", quorum["reason"])]),
        ),
        _section("Membership information"),
        nodes(answer["nodes"]),
        _section("Store"),
        _facts(
            ("State", _store_state(store)),
            ("Revision", f"{store['revision']}, digest {store['digest'][:16]}"),
            ("Holds", f"{store['entries']} entries, {_size(store['bytes'])}"),
            ("On disk", f"revision {store['durable_revision']} on {_nodes(store['durable_on'])}"),
            *_store_worries(store),
        ),
    )


def nodes(rows: list[shapes.Node]) -> Table:
    """As `pvecm nodes` lists them, with those that are away."""
    table = _table(("Nodeid", "right"), ("Votes", "right"), ("Name", "left"), ("State", "left"), ("Addresses", "left"))
    for node in rows:
        behind = f", {node['lag']} behind" if node["lag"] else ""
        table.add_row(
            str(node["id"]),
            str(node["votes"]),
            f"{node['name']} (local)" if node["local"] else node["name"],
            Text(f"online{behind}", _GOOD) if node["online"] else Text("offline", _BAD),
            ", ".join(node["addresses"]),
        )
    return table


def links(answer: shapes.Links) -> RenderableType:
    """One row a path; then what came in and was no message for us."""
    table = _table(
        ("Peer", "left"),
        ("Link", "right"),
        ("State", "left"),
        ("Remote", "left"),
        ("Latency", "right"),
        ("Loss", "right"),
        ("MTU", "right"),
        ("Sent", "right"),
        ("Received", "right"),
    )
    for link in answer["links"]:
        since = _age(time.time() - link["since"])
        state = Text(f"{link['state']} {since}", _GOOD if link["state"] == "up" else _BAD)
        if link["active"]:
            state.append(" *", "bold")
        table.add_row(
            f"{link['peer']} {link['name']}",
            str(link["link"]),
            state,
            link["remote"],
            _or_dash(link["latency_s"], lambda value: f"{value * 1000:.2f} ms"),
            _or_dash(link["loss"], lambda value: f"{value * 100:.0f} %"),
            _or_dash(link["mtu"], str),
            _size(link["tx_bytes"]),
            _size(link["rx_bytes"]),
        )
    reasons = [
        Text(f"Link {link['link']} to {link['name']} is {link['state']}: {link['reason']}", "yellow")
        for link in answer["links"]
        if link["reason"] and link["state"] != "up"
    ]
    dropped = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in answer["dropped"].items())
    return Group(table, Text("* data goes this way now"), *reasons, Text(f"Dropped: {dropped}"))


def entries(rows: list[shapes.Entry]) -> Table:
    """Files and directories."""
    table = _table(
        ("Type", "left"),
        ("Size", "right"),
        ("Revision", "right"),
        ("Writer", "right"),
        ("Modified", "left"),
        ("Path", "left"),
    )
    for row in rows:
        table.add_row(
            row["type"],
            str(row["size"]) if row["type"] == "file" else "",
            str(row["revision"]),
            _or_dash(row["writer"], str),
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["mtime"])),
            Text(printable(row["path"]) or "/", "bold blue" if row["type"] == "dir" else ""),
        )
    return table


def discarded(rows: list[shapes.SetAside]) -> Table:
    """What merges set aside."""
    table = _table(("When", "left"), ("Id", "left"), ("Revisions", "left"), ("Entries", "right"), ("File", "left"))
    for row in rows:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["time"]))
        revisions = "-".join(str(revision) for revision in row["revisions"])
        table.add_row(when, row["id"], revisions, str(row["entries"]), row["file"])
    return table


def lab(answer: dict[str, Any], views: dict[int, Any]) -> RenderableType:
    """The lab's nodes, what each running one says of itself, and the cuts. views: node id -> Status or None."""
    table = _table(
        ("Node", "left"),
        ("State", "left"),
        ("PID", "right"),
        ("Quorate", "left"),
        ("Ring", "left"),
        ("Members", "left"),
        ("Revision", "right"),
    )
    for node in answer["nodes"]:
        view = views.get(node["id"])
        state = node["state"] + (f" ({_ended(node['exit'])})" if node["exit"] is not None else "")
        colour = {"running": _GOOD, "failed": _BAD, "paused": "yellow"}.get(node["state"], _DIM)
        told = ["", "", "", ""]
        if view is not None:
            told = [
                "yes" if view["quorum"]["quorate"] else "no",
                view["ring"]["id"] or "-",
                _ids(view["ring"]["members"]),
                str(view["store"]["revision"]),
            ]
        table.add_row(f"{node['id']} {node['name']}", Text(state, colour), _or_dash(node["pid"], str), *told)
    size = f"{_count(len(answer['nodes']), 'node')}, {_count(answer['links'], 'link')}"
    head = f"Lab {answer['lab']}: {size}, 127.{answer['base']}.LINK.NODE"
    return Group(Text(head, "bold"), table, *_cut_lines(answer["cuts"]), Text(f"Files in {answer['dir']}", _DIM))


def _ended(code: int) -> str:
    """An exit status for people: the signal's name behind 128 + signal."""
    import signal

    try:
        return signal.Signals(code - 128).name if code > 128 else f"exit {code}"
    except ValueError:
        return f"exit {code}"


def _count(number: int, word: str) -> str:
    return f"{number} {word}" + "s" * (number != 1)


def _cut_lines(cuts: list[shapes.Cut]) -> Iterable[Text]:
    """One line a pair of nodes, both directions together where they are cut alike."""
    links: dict[tuple[int, int], list[int]] = {}
    for cut in cuts:
        links.setdefault((cut["from"], cut["to"]), []).append(cut["link"])
    for (source, target), cut_links in sorted(links.items()):
        both = links.get((target, source)) == cut_links
        if both and source > target:
            continue
        arrow = "<->" if both else "-->"
        yield Text(f"Cut: {source} {arrow} {target} on link {_ids(cut_links)}", "yellow")


def _section(title: str) -> Text:
    return Text(f"\n{title}" if title != "Cluster information" else title, "bold")


def _facts(*rows: tuple[str, object]) -> Table:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=17)
    grid.add_column()
    for label, value in rows:
        grid.add_row(f"{label}:", value if isinstance(value, Text) else str(value))
    return grid


def _table(*columns: tuple[str, str]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name, side in columns:
        table.add_column(
            name, justify="right" if side == "right" else "left", no_wrap=name not in ("Addresses", "State")
        )
    return table


def _store_state(store: shapes.StoreInfo) -> Text:
    good = store["state"] == "synced" and store["writable"]
    words = "writable" if store["writable"] else "read-only"
    return Text(f"{store['state']}, {words}", _GOOD if good else _BAD)


def _store_worries(store: shapes.StoreInfo) -> list[tuple[str, object]]:
    """What an administrator should know of the store; mostly nothing."""
    rows: list[tuple[str, object]] = []
    if store["reason"] and not store["writable"]:
        rows.append(("Read-only", store["reason"]))
    if store["received"] is not None:
        rows.append(("Receiving", f"{_size(store['received'])} so far"))
    if store["held_only_by"]:
        rows.append((f"{store['kind'] or 'narrow'}".capitalize(), f"held only by {_nodes(store['held_only_by'])}"))
    if store["alarm"]:
        rows.append(("Alarm", Text("two histories disagree, the operator must choose", _BAD)))
    return rows


def _ids(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers) or "-"


def _nodes(ids: list[int]) -> str:
    return f"node{'s' * (len(ids) != 1)} {_ids(ids)}"


def _or_dash(value: Any, form: Any) -> str:
    return "-" if value is None else str(form(value))


def _size(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    for unit, span in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= span:
            return f"{seconds / span:.0f} {unit}"
    return f"{seconds:.0f} s"
