"""Sums of the simulated seeds over all workers of a pytest session: printed at the end, and judged with the session."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.sim.runs import Sums

KEY = "simulated run"
LEAST = 200  # seeds that must pass and count, when so many were asked for


class Totals:
    """A pytest plugin of the process that reports: gathers the runs of all workers."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when != "call":
            return
        for key, value in report.user_properties:
            if key == KEY:
                self._told.append(json.loads(str(value)))

    def _lines(self) -> tuple[Sums, list[str]]:
        """The sums, and why these runs do not pass."""
        from tests.sim.cluster import Report  # only now: a session without simulated seeds needs none of it
        from tests.sim.history import Violation
        from tests.sim.runs import Sums

        sums = Sums()
        for told in sorted(self._told, key=lambda told: int(told["seed"])):
            failure = Violation(0.0, "", "") if told["failed"] else None
            sums.add(Report(told["seed"], told["nodes"], failure, counts=told["counts"], wall=told["wall"]))
        whole = len(self._told) >= LEAST
        problems = sums.problems(whole)
        if whole and sums.counted() < LEAST:
            problems.append(f"only {sums.counted()} seeds passed and count, {LEAST} are needed")
        return sums, problems

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._told and session.exitstatus == pytest.ExitCode.OK and self._lines()[1]:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._told:
            sums, problems = self._lines()
            first = min(int(told["seed"]) for told in self._told)
            terminalreporter.write_line(f"{sums}; lowest seed {first:06x}")
            terminalreporter.write_line(sums.effects())
            for problem in problems:
                terminalreporter.write_line(f"simulator: {problem}", red=True)
