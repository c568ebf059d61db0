"""Help from the grammar: each page fits a screen of 80 by 24."""

from __future__ import annotations

import sys

from clusterd.cli.grammar import BY_WORDS, COMMANDS, GLOBAL_OPTIONS, GROUP_WORDS, GROUPS, Argument, Command, Option

_TRY = {
    "lab": (
        "",
        "Try:  clusterctl lab up                   three nodes, two links",
        "      clusterctl --node 1 status          any command, to one of them",
        "      clusterctl lab cut 1 2,3            node 1 alone: no quorum there",
        "      clusterctl lab heal                 together again",
        "      clusterctl lab down",
    )
}
_LOOK = ("status", "quorum", "wait-quorum", "nodes", "links", "events")


def page(topic: tuple[str, ...]) -> str:
    """Help about a command, a group of commands, or everything."""
    if topic in BY_WORDS:
        return _command(BY_WORDS[topic])
    if topic and topic[0] in GROUP_WORDS:
        return _group(topic[0])
    return _all()


def _all() -> str:
    lines = [_bold("clusterctl [--socket PATH | [--lab NAME] --node N] COMMAND [ARGS] [--json]"), ""]
    lines += [_row(name, BY_WORDS[(name,)].summary) for name in _LOOK]
    lines += [_row(name, BY_WORDS[tuple(name.split())].summary) for name in ("expected", "reload", "key rotate")]
    lines.append(_row("fs (files)", _inside("fs")))
    lines.append(_row("lab (try it here)", _inside("lab")))
    lines.append(_row("completion", BY_WORDS[("completion",)].summary))
    lines += ["", *_options(GLOBAL_OPTIONS)]
    lines += ["Exit: 0 done or yes, 1 failed, 2 usage or configuration, 3 no daemon, 4 no"]
    lines += ["quorum, 5 outcome unknown, 6 conflict, 7 not found, 8 denied, 9 limit, 124 late"]
    return "\n".join(lines)


def _group(group: str) -> str:
    lines = [_bold(GROUPS[group]), ""]
    commands = [command for command in COMMANDS if command.words.startswith(group + " ")]
    for command in commands:
        arguments = " ".join(
            f"[{a.name}]" if not a.required else a.name + ("..." if a.many else "") for a in command.arguments
        )
        lines.append(_row(f"{command.words} {arguments}".rstrip(), command.summary))
    return "\n".join([*lines, *_TRY.get(group, ()), "", f"clusterctl {group} COMMAND --help says more."])


def _command(command: Command) -> str:
    lines = [_bold(f"clusterctl {command.usage}") if len(command.usage) < 68 else _bold(_short(command)), ""]
    lines += [command.summary[0].upper() + command.summary[1:] + ".", ""]
    taken = [_row(argument.name, argument.help) for argument in command.arguments] + _options(command.options)
    lines += [*taken, ""] if taken else []
    lines += [command.notes, ""] if command.notes else []
    lines += ["Options of all commands: --socket, --node, --lab, --json, --help"]
    return "\n".join(lines)


def _short(command: Command) -> str:
    return " ".join(["clusterctl", command.words, *(_shown(a) for a in command.arguments), "[OPTIONS]"])


def _shown(argument: Argument) -> str:
    name = argument.name + ("..." if argument.many else "")
    return name if argument.required else f"[{name}]"


def _options(options: tuple[Option, ...]) -> list[str]:
    return [
        _row((f"-{option.short}, " if option.short else "") + f"--{option.name} {option.metavar}".rstrip(), option.help)
        for option in options
    ]


def _inside(group: str) -> str:
    return " ".join(c.words.split()[1] for c in COMMANDS if c.words.startswith(group + " "))


def _row(left: str, right: str) -> str:
    return f"  {left:<19} {right}" if len(left) <= 19 else f"  {left:<27} {right}"


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text
