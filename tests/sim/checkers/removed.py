"""X2: who was removed is out: in no ring of those who know, not heard, without a key in use, and told if it calls."""

from __future__ import annotations

from tests.sim.checkers.changes import Log, at_that_time, runs_of
from tests.sim.history import Configured, History, Violation
from tests.sim.texts import votes_in
from transport.ids import NodeId


def check(log: Log, history: History) -> int:
    """Raises Violation; returns how much was judged."""
    out = check_removed_stay_out(log, history) + check_removed_are_not_heard(log, history)
    check_removed_have_no_key(log)
    check_removed_are_told(log)
    return out


def check_removed_stay_out(log: Log, history: History) -> int:
    """Of the rings installed after the text came into force; the one it came into force in still ends. Returns how
    many rings were installed by a node that ran a text without a node of before."""
    runs, judged = runs_of(log), 0
    ever = {node for one in log.in_force for node in votes_in(one.text)}
    for process in history.processes:
        mine = runs.get((process.node, process.number), [])
        for event in process.events:
            if not isinstance(event, Configured) or not event.change.regular:
                continue
            run = at_that_time(mine, event.at)
            if run is None or event.change.ring_id == run.ring:
                continue
            judged += not ever <= votes_in(run.text).keys()
            strange = [node for node in event.change.members if node not in votes_in(run.text)]
            if strange:
                text = f"node {process.node} runs version {run.version} and is in ring {event.change.ring_id}"
                raise Violation(event.at, "X2", f"{text} with node {strange[0]}, which it does not list")
    return judged


def check_removed_are_not_heard(log: Log, history: History) -> int:
    """A message that a node sent after its removal was in force at a member is not delivered there. The ring in
    which it came into force still ends as any ring, with what all who go on from it have of it, so that the others, who
    are a moment behind, deliver the same. Returns how many messages of nodes that were not listed were judged."""
    runs, judged = runs_of(log), 0
    sent = {mark: at for p in history.processes for (_, mark, _), at in zip(p.ring.sent, p.sent_at, strict=True)}
    for process in history.processes:
        mine = runs.get((process.node, process.number), [])
        for stranger in process.strangers:
            removed = None
            for run in mine:
                if run.at <= stranger.at:
                    listed = stranger.sender in votes_in(run.text)
                    removed = None if listed else removed or run
            judged += 1
            if removed is not None and stranger.ring != removed.ring and sent.get(stranger.mark, 0.0) > removed.at:
                text = f"node {process.node} runs version {removed.version}, without node {stranger.sender}, since "
                text += f"{removed.at:.3f} s, and was given what that node sent at {sent[stranger.mark]:.3f} s"
                raise Violation(stranger.at, "X2", text)
    return judged


def removed_in_the_end(log: Log) -> set[NodeId]:
    """Who was listed at some time and is not now."""
    ever = {node for one in log.in_force for node in votes_in(one.text)}
    return ever - set(log.final) if log.final else set()


def check_removed_have_no_key(log: Log) -> None:
    """By keys, not by courtesy."""
    if not log.settled or not log.final:
        return
    removed, keys = removed_in_the_end(log), {one.node: one for one in log.keys}
    used = keys[min(log.final)].current
    for one in log.keys:
        if one.node in removed and used in one.live:
            text = f"node {one.node} was removed and holds cluster key generation {used.generation}, used in the end"
            raise Violation(max(key.at for key in log.keys), "X2", text)


def check_removed_are_told(log: Log) -> None:
    """X2, and DESIGN 6: a removed identity that calls gets a notice."""
    told = {notice.node for notice in log.notices}
    for node in log.called:
        if node not in told:
            raise Violation(max(key.at for key in log.keys), "X2", f"node {node} was removed and never told")
