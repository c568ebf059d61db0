"""clusterctl: parse, run one command, end with the exit status of the contract (CLI.md of the project's docs).

Imports of the commands wait until one is asked for; tables (rich) wait until one is printed. Started by an ordinary
user a hundred times a day: what a traceback could say is said in one line, whatever became of the standard streams.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from typing import TYPE_CHECKING, NoReturn, cast

from clusterd.cli.output import OutputLost, complain, write
from clusterd.cli.parse import Parsed, UsageProblem, parse

if TYPE_CHECKING:
    import io
    from collections.abc import Callable

    from clusterd.cli.context import Context
    from clusterd.client import ClientError

INTERRUPTED = 130


def run() -> NoReturn:
    """The process: main, between what a process has to do around it.

    It lives for a tenth of a second: collecting garbage would only cost (streams switch it on again), and taking the
    interpreter down piece by piece would be a tenth of its time.
    """
    gc.disable()
    _standard_streams()
    status = main()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(status)


def main(argv: list[str] | None = None) -> int:
    """Run one command line. Returns the exit status, never raises for what a user can do."""
    arguments = sys.argv[1:] if argv is None else argv
    if arguments[:1] == ["--complete"]:
        from clusterd.cli.complete import candidates

        return candidates(arguments[1:])
    try:
        return _run(arguments)
    except KeyboardInterrupt as stop:
        notes = "".join(f" ({note})" for note in getattr(stop, "__notes__", ()))  # a write was under way
        with contextlib.suppress(OSError):
            sys.stderr.write(f"clusterctl: interrupted{notes}\n")
        return INTERRUPTED
    except OutputLost as lost:
        complain(str(lost))
        return 1
    except BrokenPipeError:  # a stream whose reader has enough: that is its end
        return 0


def _standard_streams() -> None:
    """Have all three: a closed one would give its number to the next file opened, our socket. Say anything to anybody.

    Output that was closed goes nowhere, as asked. Input that was closed stays unreadable: nothing is not an empty file.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        cast("io.TextIOWrapper", stream).reconfigure(errors="backslashreplace")  # a terminal without our letters


def _run(arguments: list[str]) -> int:
    try:
        parsed = parse(arguments)
    except UsageProblem as problem:
        return _usage(arguments, problem)
    if parsed.command is None:
        return _about(parsed)
    from clusterd.cli.context import Context
    from clusterd.client.errors import ClientError

    context = Context(parsed.values, parsed.options)
    try:
        return _function(parsed.command.run)(context)
    except ClientError as error:
        error.hint = context.hint(error)
        return _fail(error, context.json)


def _function(name: str) -> Callable[[Context], int]:
    from importlib import import_module

    module, function = name.split(":")
    return cast("Callable[[Context], int]", getattr(import_module(f"clusterd.cli.{module}"), function))


def _about(parsed: Parsed) -> int:
    if parsed.options["version"]:
        from clusterd import __version__

        told = f'{{"version": "{__version__}"}}' if parsed.options["json"] else f"clusterctl {__version__}"
    else:
        from clusterd.cli.help import page

        told = page(parsed.topic)
    write(told + "\n")
    return 0


def _usage(arguments: list[str], problem: UsageProblem) -> int:
    from clusterd.client.errors import UsageError

    if "--json" not in arguments and str(problem).endswith("which command?"):
        from clusterd.cli.help import page

        write(page(tuple(word for word in arguments if not word.startswith("-"))[:1]) + "\n")
    return _fail(UsageError(str(problem), problem.hint), "--json" in arguments)


def _fail(error: ClientError, as_json: bool) -> int:
    """The error object on stdout if wanted, one line on stderr always."""
    import json

    if as_json:
        with contextlib.suppress(OutputLost):  # stderr has its line all the same
            write(json.dumps({"error": error.as_dict()}) + "\n")
    problems = error.details.get("problems")
    complain("; ".join(problems) if problems else error.message, error.hint)
    return error.exit_status


if __name__ == "__main__":
    run()
