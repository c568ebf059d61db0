"""Prints at the end of a pytest session how many of the steps that can go wrong each enumerated story tried."""

from __future__ import annotations

import pytest

KEY = "enumerated"


class Counts:
    """A pytest plugin of the process that reports; stories on other workers tell by their properties."""

    def __init__(self) -> None:
        self._told: list[str] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call":
            self._told += [str(value) for key, value in report.user_properties if key == KEY]

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in sorted(self._told):
            terminalreporter.write_line(line)
