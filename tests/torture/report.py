"""What a run of the torture tells: a line while it goes on, tables when it has ended."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN
from tests.torture.moments import clock

if TYPE_CHECKING:
    from tests.torture.run import Torture

OUTCOMES = (ACKED, FAILED, REFUSED, UNKNOWN)


def line(torture: Torture, minutes: float) -> str:
    """How far it is, in a line that fits a screen."""
    passed, whole = clock() - torture.began, 60 * minutes
    ended = outcomes(torture)
    told = ", ".join(f"{ended[outcome]} {outcome}" for outcome in OUTCOMES)
    under_way = ", ".join(torture.faults.under_way)
    doing = torture.phase + (f": {under_way}" if under_way else "")
    faults = torture.faults.done.total()
    return f"{clocked(passed)} of {clocked(whole)}  round {torture.rounds}, {faults} faults; {told}; {doing}"


def outcomes(torture: Torture) -> Counter[str]:
    """How operations ended, those of the round under way too."""
    ended: Counter[str] = Counter()
    for (_, outcome), number in torture.outcomes.items():
        ended[outcome] += number
    ended.update(call.outcome for writer in torture.writers for call in list(writer.calls))
    return ended


def table(torture: Torture) -> str:
    """Faults by kind, operations by outcome, judgements by checker."""
    faults = torture.faults
    rows = [f"{torture.rounds} rounds, {faults.done.total()} faults:"]
    for kind, number in sorted(faults.done.items()):
        refused = faults.refused[kind]
        rows.append(f"  {kind:10} {number:6}{f'   and {refused} refused' if refused else ''}")
    rows.append(f"{torture.outcomes.total()} operations:")
    rows.append("  " + " " * 10 + "".join(f"{outcome:>9}" for outcome in OUTCOMES))
    kinds = sorted({kind for kind, _ in torture.outcomes})
    rows += [f"  {kind:10}" + "".join(f"{torture.outcomes[kind, outcome]:9}" for outcome in OUTCOMES) for kind in kinds]
    ended = outcomes(torture)
    rows.append(f"  {'all':10}" + "".join(f"{ended[outcome]:9}" for outcome in OUTCOMES))
    rows.append("judged:")
    rows += [f"  {what:38} {number:8}" for what, number in sorted(torture.judge.counts.items())]
    if torture.judge.undecided:
        rows.append(f"  {torture.judge.undecided} keys left undecided by the search for an order")
    rows.append(f"whole again after {torture.longest_heal:.1f} s at most; largest daemon {torture.largest >> 20} MiB")
    return "\n".join(rows)


def clocked(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
