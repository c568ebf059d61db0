"""Writing to the two streams, whatever became of them, and never a control character that somebody else chose."""

from __future__ import annotations

import os
import sys

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))} | {9: "\\t", 10: "\\n", 13: "\\r"}


class OutputLost(Exception):  # noqa: N818  a sentence for the user
    """Standard output takes nothing (a full disk): the command was done, its answer is lost."""


def write(text: str | bytes, endless: bool = False) -> None:
    """To standard output, at once.

    When the reader has gone (`| head`) it has all it wanted: the command goes on and its exit status stays true.
    endless: a stream, which would go on for ever: raises BrokenPipeError instead. Raises OutputLost.
    """
    try:
        if isinstance(text, bytes):
            sys.stdout.flush()
            sys.stdout.buffer.write(text)
        else:
            sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        _nowhere()
        if endless:
            raise
    except OSError as error:
        _nowhere()
        raise OutputLost(f"standard output: {error.strerror or error}; the command itself was done") from None


def _nowhere() -> None:
    """Throw away what is buffered and what follows."""
    with open(os.devnull, "wb") as null:
        os.dup2(null.fileno(), sys.stdout.fileno())


def own_name() -> str:
    """How to type this command here: `clusterctl` where the shell finds it by that name, else as it was typed."""
    typed = sys.argv[0]
    if os.path.basename(typed) != "clusterctl":
        return "clusterctl"
    for directory in os.environ.get("PATH", "").split(os.pathsep):
        found = os.path.join(directory, "clusterctl")
        if os.path.isfile(found):
            if os.path.isfile(typed) and os.path.samefile(found, typed):
                return "clusterctl"
            break
    from shlex import quote

    return quote(typed)


def complain(message: str, hint: str = "") -> None:
    """The one line on stderr."""
    line = f"clusterctl: {message}" + (f" ({hint})" if hint else "")
    try:
        sys.stderr.write(printable(line) + "\n")
        sys.stderr.flush()
    except OSError:  # nobody to hear it; the exit status still tells
        pass


def printable(text: str) -> str:
    """A name from the tree for a terminal: control characters, which could be commands to it, as escapes."""
    return text.translate(_CONTROLS)
