"""clusterctl: parse, run one command, end with the exit status of the contract (CLI.md of the project's docs).

Imports of the commands wait until one is asked for; tables (rich) wait until one is printed.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import TYPE_CHECKING, cast

from clusterd.cli.parse import Parsed, UsageProblem, parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from clusterd.cli.context import Context
    from clusterd.client import ClientError

INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command line. Returns the exit status, never raises for what a user can do."""
    arguments = sys.argv[1:] if argv is None else argv
    if argv is None:
        gc.disable()  # a process of a tenth of a second: collecting would only cost; streams switch it on again
    if arguments[:1] == ["--complete"]:
        from clusterd.cli.complete import candidates

        return candidates(arguments[1:])
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write("clusterctl: interrupted\n")
        return INTERRUPTED
    except BrokenPipeError:  # the reader has enough; nothing more can be said to it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


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
        return _fail(error, context.json)


def _function(name: str) -> Callable[[Context], int]:
    from importlib import import_module

    module, function = name.split(":")
    return cast("Callable[[Context], int]", getattr(import_module(f"clusterd.cli.{module}"), function))


def _about(parsed: Parsed) -> int:
    if parsed.options["version"]:
        from clusterd import __version__

        print(f'{{"version": "{__version__}"}}' if parsed.options["json"] else f"clusterctl {__version__}")
        return 0
    from clusterd.cli.help import page

    print(page(parsed.topic))
    return 0


def _usage(arguments: list[str], problem: UsageProblem) -> int:
    from clusterd.client.errors import UsageError

    if "--json" not in arguments and str(problem).endswith("which command?"):
        from clusterd.cli.help import page

        print(page(tuple(word for word in arguments if not word.startswith("-"))[:1]))
    return _fail(UsageError(str(problem), problem.hint), "--json" in arguments)


def _fail(error: ClientError, as_json: bool) -> int:
    """The error object on stdout if wanted, one line on stderr always."""
    import json

    from clusterd.cli.context import complain

    if as_json:
        print(json.dumps({"error": error.as_dict()}), flush=True)
    problems = error.details.get("problems")
    complain("; ".join(problems) if problems else error.message, error.hint)
    return error.exit_status


if __name__ == "__main__":
    sys.exit(main())
