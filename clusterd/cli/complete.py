"""What TAB offers: commands, options, lab nodes, paths of the tree. One script per shell, all ask `--complete`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from clusterd.cli.context import Context
from clusterd.cli.grammar import BY_WORDS, COMMANDS, GLOBAL_OPTIONS, GROUP_WORDS, Command, Option
from clusterd.client import Client, ClientError, UsageError

_PATIENCE = 0.5  # seconds a daemon has to name paths

FILES = 10  # exit status of `--complete`: the word is a local file, which the shell knows better

_BASH = """\
_clusterctl() {
    local IFS=$'\\n' i
    local -a words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=($(clusterctl --complete "${words[@]//[\\\\\\"\\']/}" 2>/dev/null))
    if [[ $? == 10 ]]; then
        compopt -o default
    elif [[ ${words[-1]} != [\\"\\']* ]]; then
        for i in "${!COMPREPLY[@]}"; do printf -v "COMPREPLY[i]" %q "${COMPREPLY[i]}"; done
    fi
    [[ ${COMPREPLY[0]} == */ ]] && compopt -o nospace
}
complete -F _clusterctl clusterctl"""

_ZSH = """\
_clusterctl() {
    local -a found
    found=("${(@f)$(clusterctl --complete "${(@Q)words[2,CURRENT]}" 2>/dev/null)}")
    if (( $? == 10 )); then _files; return; fi
    found=(${found:#})
    compadd -S '' -- ${(M)found:#*/}
    compadd -- ${found:#*/}
}
compdef _clusterctl clusterctl"""

_FISH = """\
function __clusterctl
    set -l words (commandline -opc)[2..-1] (commandline -ct)
    clusterctl --complete $words 2>/dev/null
    if test $status -eq 10
        __fish_complete_path (commandline -ct)
    end
end
complete -c clusterctl -f -a '(__clusterctl)'"""


def script(context: Context) -> int:
    """Print the script for one shell."""
    shells = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}
    if context["SHELL"] not in shells:
        raise UsageError(f"{context['SHELL']}: bash, zsh or fish", "clusterctl completion --help")
    context.say(shells[context["SHELL"]])
    return 0


def candidates(words: list[str]) -> int:
    """Print what the last word could become, one a line. Returns 0, or FILES. Never fails: a shell waits for it."""
    before, last = words[:-1], words[-1] if words else ""
    try:
        offers = _offers(before, last)
        if offers is None:
            return FILES
        # A name with control characters would be another name, or a command to the terminal.
        found = sorted(word for word in offers if word.startswith(last) and word.isprintable())
    except (ClientError, OSError, ValueError):
        found = []
    print("\n".join(found))
    return 0


def _offers(before: list[str], last: str) -> Iterable[str] | None:
    """All there is, also what does not begin like `last`. None: a local file."""
    command, typed = _command(before)
    options = (*GLOBAL_OPTIONS, *(command.options if command else ()))
    waiting = _waiting(before, options)
    if waiting is not None:
        return _of(waiting.complete, before, last)
    if last.startswith("-"):
        return [f"--{option.name}" for option in options]
    if command is None:
        depth = len(typed)
        return {
            c.words.split()[depth]
            for c in COMMANDS
            if tuple(c.words.split()[:depth]) == typed and len(c.words.split()) > depth
        }
    given = len(typed) - len(command.words.split())
    arguments = command.arguments
    if not arguments or (given >= len(arguments) and not arguments[-1].many):
        return []
    return _of(arguments[min(given, len(arguments) - 1)].complete, before, last)


def _command(before: list[str]) -> tuple[Command | None, tuple[str, ...]]:
    """The command typed so far and all words that are no options."""
    words: list[str] = []
    skip = False
    takes_value = {f"--{o.name}" for c in COMMANDS for o in (*GLOBAL_OPTIONS, *c.options) if o.metavar}
    for word in before:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in takes_value
        else:
            words.append(word)
    size = 2 if words and words[0] in GROUP_WORDS else 1
    return BY_WORDS.get(tuple(words[:size])), tuple(words)


def _waiting(before: list[str], options: tuple[Option, ...]) -> Option | None:
    """The option whose value comes next."""
    return next((o for o in options if before and o.metavar and before[-1] == f"--{o.name}"), None)


def _of(kind: str, before: list[str], last: str) -> Iterable[str] | None:
    if kind == "file":
        return None
    from clusterd.lab import layout

    values = dict(pairwise(before))
    name = values.get("--lab") or os.environ.get("CLUSTERD_LAB") or "default"
    if kind in ("node", "nodes"):
        lab = layout.load(name)
        ids = lab.ids if lab else []
        return [*(["all"] if ids and kind == "nodes" else []), *map(str, ids), *(f"n{ident}" for ident in ids)]
    if kind == "lab":
        return layout.names()
    if kind == "shell":
        return ["bash", "zsh", "fish"]
    if kind == "path":
        return _paths(values, last)
    return []


def _paths(values: dict[str, Any], last: str) -> Iterable[str]:
    options = {
        "socket": values.get("--socket"),
        "node": values.get("--node"),
        "lab": values.get("--lab"),
        "json": False,
    }
    directory = last.rpartition("/")[0]
    with Client(Context({}, options).socket(), timeout=_PATIENCE) as client:
        return [row["path"] + "/" * (row["type"] == "dir") for row in client.ls(directory)["entries"]]
