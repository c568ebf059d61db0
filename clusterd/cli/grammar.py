"""Every command of clusterctl, once: its words, arguments and options, its help, and the function that runs it.

The parser, the help and the shell completion all read this table. It is data and imports nothing heavy: typer, which
this replaces, takes 240 ms to answer an empty command, and `clusterctl status` is to be done in 150.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Argument(NamedTuple):
    """A positional argument. convert raises ValueError with a sentence. complete: what TAB offers (see complete.py)."""

    name: str
    help: str
    required: bool = True
    many: bool = False
    convert: Callable[[str], Any] = str
    complete: str = ""


class Option(NamedTuple):
    """`--name VALUE`, or a flag when metavar is empty. short: one letter. many: may be given again."""

    name: str
    help: str
    metavar: str = ""
    short: str = ""
    many: bool = False
    required: bool = False
    default: Any = None
    convert: Callable[[str], Any] = str
    complete: str = ""


class Command(NamedTuple):
    """words: as typed, `fs put`. run: `module:function` in clusterd.cli, loaded when it is run."""

    words: str
    run: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    notes: str = ""

    @property
    def usage(self) -> str:
        """`fs put PATH [FILE] [--timeout S]`."""
        parts = [self.words]
        for argument in self.arguments:
            name = argument.name + ("..." if argument.many else "")
            parts.append(name if argument.required else f"[{name}]")
        for option in self.options:
            spelled = (f"-{option.short}" if option.short else f"--{option.name}") + (
                f" {option.metavar}" if option.metavar else ""
            )
            parts.append(spelled if option.required else f"[{spelled}]" + ("..." if option.many else ""))
        return " ".join(parts)


def seconds(text: str) -> float:
    value = float(text)
    if not 0 < value <= 3600:
        raise ValueError("seconds above 0, at most 3600")
    return value


def _number(low: int, high: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(text)

    return convert


def _votes(text: str) -> list[int]:
    one = _number(0, 65535)
    return [one(part) for part in text.split(",")]


GLOBAL_OPTIONS = (
    Option("socket", "else $CLUSTERD_SOCKET, else /run/clusterd/clusterd.sock", "PATH", complete="file"),
    Option("node", "a lab's node instead, by id or name", "N", complete="node"),
    Option("lab", "which lab; else $CLUSTERD_LAB, else `default`", "NAME", complete="lab"),
    Option("json", "one JSON object on one line; streams: one a line"),
    Option("version", "print the version"),
    Option("help", "this help; after a command: its help", short="h"),
)

_WRITE_TIMEOUT = Option("timeout", "seconds to wait, 10; then exit 5", "S", default=10.0, convert=seconds)
_WRITE_OPTIONS = (
    _WRITE_TIMEOUT,
    Option("id", "repeat the write that ended with exit 5: the id it told", "ID"),
)
_PATH = Argument("PATH", "in the cluster's tree; a leading / is allowed", complete="path")
_FILE = Argument("FILE", "what to write; `-` or nothing: standard input", required=False, complete="file")
_WRITE_NOTES = (
    "Its directory must exist. Without quorum it is refused within a second, and\n"
    "nothing happened (exit 4). Exit 5: it may have happened; `fs outcome ID` tells,\n"
    "and the same command with --id ID does it, if it was not done already."
)
_NODES = Argument("N", "node ids or names, comma lists, or `all`", many=True, complete="nodes")
_PAIR_OPTIONS = (
    Option("link", "only this link", "K", convert=_number(0, 7)),
    Option("one-way", "only what A sends to B"),
)
_UP_TIMEOUT = Option("timeout", "seconds to wait, 30; then exit 124", "S", default=30.0, convert=seconds)

GROUPS = {
    "": "Look",
    "change": "Change",
    "key": "Cluster keys",
    "fs": "Files: the same small tree on every node",
    "lab": "Lab: real clusters of real daemons on this host, without root",
}

COMMANDS = (
    Command(
        "status",
        "look:status",
        "everything at a glance",
        notes="Exit 0 if a daemon answers, quorate or not. Scripts ask `clusterctl quorum`.",
    ),
    Command(
        "quorum",
        "look:quorum",
        "may this cluster act? exit 0 yes, 4 no",
        options=(Option("watch", "now, then every change, until Ctrl-C (then exit 0)"),),
    ),
    Command(
        "wait-quorum",
        "look:wait_quorum",
        "wait until quorate, also for a daemon to appear",
        options=(Option("timeout", "seconds to wait; then exit 124. Default: for ever", "S", convert=seconds),),
    ),
    Command("nodes", "look:nodes", "all configured nodes, members or not"),
    Command("links", "look:links", "all paths to other nodes, and what was dropped"),
    Command(
        "events",
        "look:events",
        "what happens: membership, quorum, links, store, config",
        options=(Option("follow", "until Ctrl-C; so also without this option"),),
    ),
    Command(
        "expected",
        "change:expected",
        "set the expected votes",
        (Argument("N", "votes, 1 or more", convert=_number(1, 0xFFFFFFFF)),),
        notes="For what is left of a cluster that lost nodes for good. Only when those are\n"
        "certainly off, else two parts may act at once. Nodes that join raise it again.",
    ),
    Command(
        "reload",
        "change:reload",
        "apply the changed configuration file to all nodes",
        notes="First edit corosync.conf on this node and raise its config_version. All members\n"
        "apply it at one moment, or none does: then every reason is told (exit 2).",
    ),
    Command(
        "key rotate",
        "change:key_rotate",
        "make a new cluster key and put it in force",
        notes="Each member writes it to its authkey; one that is away fetches it when it\n"
        "returns. The old key ends after 30 seconds.",
    ),
    Command("fs put", "fs:put", "write a file on all nodes", (_PATH, _FILE), _WRITE_OPTIONS, _WRITE_NOTES),
    Command(
        "fs cas",
        "fs:cas",
        "write it only if nobody changed it since; else exit 6",
        (_PATH, _FILE),
        (
            Option(
                "revision",
                "the entry's revision you saw; 0: it must not exist",
                "R",
                required=True,
                convert=_number(0, 2**63 - 1),
            ),
            *_WRITE_OPTIONS,
        ),
        _WRITE_NOTES,
    ),
    Command(
        "fs cat",
        "fs:cat",
        "print a file",
        (_PATH,),
        (Option("linearizable", "with every write acknowledged anywhere before now"), _WRITE_TIMEOUT),
    ),
    Command(
        "fs ls",
        "fs:ls",
        "list a directory",
        (_PATH._replace(required=False),),
        (Option("recursive", "with all below", short="R"),),
    ),
    Command("fs stat", "fs:stat", "one entry", (_PATH,)),
    Command("fs rm", "fs:rm", "remove", (_PATH,), (Option("recursive", "with all below", short="r"), *_WRITE_OPTIONS)),
    Command(
        "fs mkdir",
        "fs:mkdir",
        "make a directory",
        (_PATH,),
        (Option("parents", "missing ones above too; fine if it exists", short="p"), *_WRITE_OPTIONS),
    ),
    Command(
        "fs mv",
        "fs:mv",
        "rename",
        (_PATH._replace(name="FROM"), _PATH._replace(name="TO", help="its new path")),
        _WRITE_OPTIONS,
    ),
    Command(
        "fs watch",
        "fs:watch",
        "changes as they happen, until Ctrl-C",
        (_PATH._replace(required=False),),
        (Option("from", "changes after this revision first", "R", convert=_number(0, 2**63 - 1)),),
    ),
    Command(
        "fs outcome",
        "fs:outcome",
        "what became of a write that ended with exit 5",
        (Argument("ID", "the operation's id, as the error told it"),),
    ),
    Command("fs discarded", "fs:discarded", "what merges set aside"),
    Command(
        "lab up",
        "lab:up",
        "start N nodes (3) and wait until they are one cluster",
        (Argument("N", "1 to 32 nodes", required=False, convert=_number(1, 32)),),
        (
            Option("links", "links between them, 1 to 8; 2", "L", default=2, convert=_number(1, 8)),
            Option("base", "addresses 127.B.link.node; the first free from 77", "B", convert=_number(1, 254)),
            Option("dir", "where; /var/tmp/clusterd-lab-UID/NAME", "DIR", complete="file"),
            Option("votes", "one number a node: 1,1,2", "V,V,..", convert=_votes),
            Option("set", "a line of corosync.conf: totem.token=1000", "SECTION.KEY=VALUE", many=True),
            Option("no-wait", "do not wait for the cluster to form"),
            _UP_TIMEOUT,
        ),
    ),
    Command("lab status", "lab:status", "the nodes of the lab, and what is cut"),
    Command("lab kill", "lab:kill", "end nodes as a crash would (SIGKILL)", (_NODES,)),
    Command("lab stop", "lab:stop", "let nodes leave cleanly and end (SIGTERM)", (_NODES,)),
    Command("lab pause", "lab:pause", "freeze nodes (SIGSTOP)", (_NODES,)),
    Command("lab resume", "lab:resume", "let frozen nodes go on (SIGCONT)", (_NODES,)),
    Command(
        "lab start",
        "lab:start",
        "start stopped nodes again with the state they had",
        (_NODES,),
        (Option("no-wait", "do not wait for a stable ring"), _UP_TIMEOUT),
    ),
    Command(
        "lab cut",
        "lab:cut",
        "lose all datagrams between nodes",
        (
            Argument("A", "id, comma list or `all`", complete="nodes"),
            Argument("B", "id, comma list or `all`", complete="nodes"),
        ),
        _PAIR_OPTIONS,
    ),
    Command(
        "lab heal",
        "lab:heal",
        "end cuts; no nodes: all of them",
        (
            Argument("A", "id, comma list or `all`", required=False, complete="nodes"),
            Argument("B", "id, comma list or `all`", required=False, complete="nodes"),
        ),
        _PAIR_OPTIONS,
    ),
    Command(
        "lab down",
        "lab:down",
        "stop all nodes and remove the lab",
        options=(Option("keep", "leave its files; `lab up` goes on with them"),),
    ),
    Command(
        "completion",
        "complete:script",
        "the completion script for your shell",
        (Argument("SHELL", "bash, zsh or fish", complete="shell"),),
        notes='bash: eval "$(clusterctl completion bash)"   (in ~/.bashrc)\n'
        'zsh:  eval "$(clusterctl completion zsh)"    (in ~/.zshrc, after compinit)\n'
        "fish: clusterctl completion fish > ~/.config/fish/completions/clusterctl.fish",
    ),
)

BY_WORDS = {tuple(command.words.split()): command for command in COMMANDS}
GROUP_WORDS = ("key", "fs", "lab")
