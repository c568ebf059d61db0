"""Tables for people on stdout, one JSON object a line for programs."""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table

from bench.stats import Spread

Value = str | int | float | bool | None


class Report:
    """Where all suites tell what they found."""

    def __init__(self, file: Path | None) -> None:
        """file: for the JSON lines, anew. Raises OSError."""
        width = None if sys.stdout.isatty() else 140
        self._console = Console(highlight=False, width=width)
        self._progress = Console(stderr=True, highlight=False)
        self._file: TextIO | None = file.open("w", encoding="utf-8") if file is not None else None

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def record(self, suite: str, case: str, values: Mapping[str, Value]) -> None:
        """One result, for programs. Keys end in their unit: _us, _ms, _s, _per_s, _bytes."""
        if self._file is not None:
            row = {"time": time.time(), "suite": suite, "case": case, **values}
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()

    def table(self, title: str, columns: list[str], rows: list[list[str]], note: str = "") -> None:
        """The first column is text, the others are figures."""
        table = Table(title=title, title_justify="left", caption=note or None, caption_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left", no_wrap=number > 0)
        for row in rows:
            table.add_row(*row)
        self._console.print(table)

    def line(self, text: str) -> None:
        self._console.print(text, markup=False)

    @contextlib.contextmanager
    def doing(self, what: str) -> Iterator[None]:
        """Say on the terminal what goes on; nothing stays of it."""
        if self._progress.is_terminal:
            with self._progress.status(what):
                yield
        else:
            yield


def number(value: float) -> str:
    """Three significant digits, or all before the point."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(value: Spread) -> str:
    """`median (least-most)`."""
    return f"{number(value.median)} ({number(value.least)}-{number(value.most)})"
