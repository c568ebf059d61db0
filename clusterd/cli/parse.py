"""A command line against the grammar: which command, with which values. Options may stand anywhere, `--` ends them."""

from __future__ import annotations

from typing import Any, NamedTuple

from clusterd.cli.grammar import BY_WORDS, COMMANDS, GLOBAL_OPTIONS, GROUP_WORDS, Argument, Command, Option


class UsageProblem(Exception):  # noqa: N818  a sentence for the user, and what to type instead
    """The command line is not one of ours. hint: where to look."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


class Parsed(NamedTuple):
    """command: None with `--help`, `--version`, or nothing but options.  topic: the words given, for help."""

    command: Command | None
    topic: tuple[str, ...]
    values: dict[str, Any]
    options: dict[str, Any]


def parse(argv: list[str]) -> Parsed:
    """Raises UsageProblem."""
    words, rest = _words(argv)
    command = BY_WORDS.get(words)
    known = (*GLOBAL_OPTIONS, *(command.options if command else ()))
    given, positional = _split(rest, known, _name(words))
    general = {option.name: given.pop(option.name, None) for option in GLOBAL_OPTIONS}
    if general["help"] or general["version"]:
        return Parsed(None, words, {}, general)
    if command is None:
        raise _no_such(words, positional)
    values = {option.name: given.get(option.name, option.default) for option in command.options}
    for option in command.options:
        if option.required and option.name not in given:
            raise _problem(f"{command.words}: --{option.name} is missing", command.words)
    values.update(_fill(command, positional))
    return Parsed(command, words, values, general)


def _words(argv: list[str]) -> tuple[tuple[str, ...], list[str]]:
    """The command's words, wherever they stand among the options, and all the rest in order."""
    words: list[str] = []
    rest: list[str] = []
    takes_value = {f"--{option.name}" for option in GLOBAL_OPTIONS if option.metavar}
    index = 0
    while index < len(argv):
        word = argv[index]
        if word in takes_value and index + 1 < len(argv):
            rest += argv[index : index + 2]
            index += 2
        elif word.startswith("-"):
            rest.append(word)
            index += 1
        else:
            words.append(word)
            index += 1
            if word not in GROUP_WORDS or len(words) == 2:
                break
    return tuple(words), rest + argv[index:]


def _split(rest: list[str], known: tuple[Option, ...], where: str) -> tuple[dict[str, Any], list[str]]:
    long = {f"--{option.name}": option for option in known}
    short = {f"-{option.short}": option for option in known if option.short}
    given: dict[str, Any] = {}
    positional: list[str] = []
    index = 0
    while index < len(rest):
        word = rest[index]
        index += 1
        if word == "--":
            positional += rest[index:]
            break
        if word == "-" or not word.startswith("-"):
            positional.append(word)
            continue
        name, equals, value = word.partition("=")
        option = long.get(name) or short.get(word)
        if option is None:
            raise _problem(f"no such option: {name}{_nearest(name, [*long, *short])}", where)
        if not option.metavar:
            if equals:
                raise _problem(f"{name} takes no value", where)
            given[option.name] = True
            continue
        if not equals:
            if index == len(rest):
                raise _problem(f"{name} needs a value: {option.metavar}", where)
            value = rest[index]
            index += 1
        converted = _convert(name, option, value, where)
        if option.many:
            given.setdefault(option.name, []).append(converted)
        else:
            given[option.name] = converted
    return given, positional


def _fill(command: Command, positional: list[str]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    left = list(positional)
    for argument in command.arguments:
        if not left:
            if argument.required:
                raise _problem(f"{command.words}: {argument.name} is missing ({argument.help})", command.words)
            values[argument.name] = None
        elif argument.many:
            values[argument.name] = [_convert(argument.name, argument, text, command.words) for text in left]
            left = []
        else:
            values[argument.name] = _convert(argument.name, argument, left.pop(0), command.words)
    if left:
        raise _problem(f"{command.words}: one argument too many: {left[0]!r}", command.words)
    return values


def _convert(name: str, taken: Argument | Option, text: str, where: str) -> Any:
    try:
        return taken.convert(text)
    except ValueError as error:
        reason = str(error) if not str(error).startswith("could not convert") else "a number is needed"
        raise _problem(f"{name}: {text!r} is not possible here: {reason}", where) from None


def _no_such(words: tuple[str, ...], positional: list[str]) -> UsageProblem:
    if not words:
        return UsageProblem("which command?", "clusterctl --help")
    if words[0] in GROUP_WORDS and len(words) == 1:
        return UsageProblem(f"{words[0]}: which command?", f"clusterctl {words[0]} --help")
    if words[0] in GROUP_WORDS:
        siblings = [command.words.split()[1] for command in COMMANDS if command.words.startswith(words[0] + " ")]
        return _problem(f"no such command: {words[0]} {words[1]}{_nearest(words[1], siblings)}", words[0])
    return _problem(f"no such command: {words[0]}{_nearest(words[0], [c.words.split()[0] for c in COMMANDS])}", "")


def _nearest(word: str, candidates: list[str]) -> str:
    import difflib  # only when something is wrong already

    near = difflib.get_close_matches(word, candidates, 1)
    return f" (did you mean {near[0]}?)" if near else ""


def _name(words: tuple[str, ...]) -> str:
    return " ".join(words)


def _problem(message: str, words: str) -> UsageProblem:
    return UsageProblem(message, f"clusterctl {words} --help".replace("  ", " "))
