"""What the store promises, in the order in which it is judged: the first promise found broken is the one to mend."""

from __future__ import annotations

from tests.sim.checkers import alike, durable, ended, one_line, real_time, set_aside
from tests.sim.history import History


def check(history: History) -> dict[str, int]:
    """Raises Violation for the first promise found broken; returns how often each was judged."""
    required = durable.check_required_sets(history)
    ended.check_every_call_ended(history)
    ended.check_refused_never_appears(history)
    durable.check_acked_is_kept(history)
    set_aside.check_nothing_is_thrown_away(history)
    real_time.check_revisions_follow_real_time(history)
    aside = set_aside.check_set_aside(history)
    digests = alike.check_digests(history)
    real_time.check_reads_never_go_back(history)
    line = one_line.check(history)
    calls = sum(1 for call in history.calls if call.outcome)
    return {"S1": required, "S3": calls, "S4": digests, "S5": aside, "Q5": line}
