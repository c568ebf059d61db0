"""What an administrator may rely on: changes of the configuration, of the nodes and of the cluster keys.

A1 one line     a version of the configuration is one text, whoever runs it; a process never goes back
A2 in force     a change answered as done is in force everywhere once all is healed, or a later one is
A3 or not       a change answered as refused, or that a member has to refuse, is in force nowhere, ever; two under one
                version are never both done
A4 alike        in the end all listed nodes run the same configuration and use the same cluster key
"""

from __future__ import annotations

from itertools import pairwise

from tests.sim.checkers import one_component, removed
from tests.sim.checkers.changes import DONE, REFUSED, Change, InForce, Log, title_of
from tests.sim.history import History, Violation
from transport.ids import NodeId, RingId


def check(log: Log, history: History, one_line: bool, by_votes: bool) -> dict[str, int]:
    """Raises Violation for the first promise found broken; returns how often each was judged.

    one_line: neither options nor an operator let two components act at one time.  by_votes: who is quorate has more
    than half of the votes of the configuration in force.
    """
    check_never_back(log)
    check_refused(log)
    refused = log.total(REFUSED) + check_nobody_says_no(log)
    if not one_line:
        return {"A3": refused}
    check_one_text(log)
    check_done_once(log)
    check_done(log)
    check_alike(log)
    out = removed.check(log, history)
    counted = one_component.check_votes(log, history) if by_votes else 0
    done, listed = log.total(DONE), len(log.final)
    return {"A1": len(log.in_force), "A2": done, "A3": refused, "A4": listed, "X2": out, "Q1": counted}


def check_never_back(log: Log) -> None:
    """A1, within a process."""
    newest: dict[tuple[NodeId, int], InForce] = {}
    for one in log.in_force:
        before = newest.get((one.node, one.process))
        if before is not None and before.version >= one.version:
            text = f"node {one.node} went from configuration version {before.version} to {one.version}"
            raise Violation(one.at, "A1", text)
        newest[one.node, one.process] = one


def check_one_text(log: Log) -> None:
    """A1, between nodes. A text that every node which ran it lost with its power, before it was on a disk and before
    anybody was told that it is done, was never there: its version is free."""
    texts: dict[int, InForce] = {}
    for index, one in enumerate(log.in_force):
        other = texts.setdefault(one.version, one)
        if other.text == one.text:
            continue
        if _lost(log, other, log.in_force[:index]):
            texts[one.version] = one
        else:
            text = f"nodes {other.node} and {one.node} ran different texts of version {one.version}"
            raise Violation(one.at, "A1", f"{text}: {title_of(other.text)} and {title_of(one.text)}")


def _lost(log: Log, text: InForce, before: list[InForce]) -> bool:
    if any(change.body == text.text and change.outcome == DONE for change in log.changes):
        return False
    has: dict[NodeId, bool] = {}
    for one in before:
        if one.text == text.text:
            has[one.node] = True
        elif one.started and one.version < text.version:
            has[one.node] = False
    return not any(has.values())


def check_done_once(log: Log) -> None:
    """A3: two under one version are never both done."""
    done: dict[int, Change] = {}
    for change in log.changes:
        if change.body and change.outcome == DONE:
            version = next(one.version for one in log.in_force if one.text == change.body)
            if version in done:
                text = f"version {version} was answered as done at nodes {done[version].node} and {change.node}"
                raise Violation(change.ended, "A3", text)
            done[version] = change


def check_refused(log: Log) -> None:
    """A3. No two texts of a run are equal."""
    run = {one.text: one for one in reversed(log.in_force)}
    for change in log.changes:
        if change.body and change.outcome == REFUSED and change.body in run:
            one = run[change.body]
            text = f"{change.what} at node {change.node} was refused ({change.why}), and came into force at node"
            raise Violation(one.at, "A3", f"{text} {one.node}: {title_of(change.body)}")


def check_nobody_says_no(log: Log) -> int:
    """A3: what a member cannot take comes into force nowhere in its ring, whatever the others think of it. Returns how
    often such a change was asked for.

    Which ring that is, the order of what the node said tells, not the time: who is alone in a ring agrees with itself
    in the moment of installing it, and what the last ring still brings comes in the moment of the next.
    """
    asked = [change for change in log.changes if change.cannot]
    for change in asked:
        first = next((one for one in log.in_force if one.text == change.body), None)
        if first is None:
            continue
        if change.cannot in first.members:
            text = f"{change.what} is in force at node {first.node} in a ring of {list(first.members)}, of which node"
            raise Violation(first.at, "A3", f"{text} {change.cannot} cannot take it: {title_of(change.body)}")
    return len(asked)


def check_done(log: Log) -> None:
    """A2."""
    final = max((version for version, _ in log.final.values()), default=0)
    end = log.keys[-1] if log.keys else None
    for change in log.changes:
        if change.outcome != DONE:
            continue
        named = f"{change.what} at node {change.node} was done"
        if change.body:
            ran = [one for one in log.in_force if one.text == change.body]
            if not any((one.node, one.process) == (change.node, change.process) for one in ran):
                raise Violation(change.ended, "A2", f"{named}, but never in force there: {title_of(change.body)}")
            if final < ran[0].version:
                raise Violation(change.ended, "A2", f"{named} in version {ran[0].version}, in the end {final} is run")
        elif change.what == "rotate" and end is not None and end.current.generation < change.generation:
            text = f"{named} with generation {change.generation}, in the end {end.current.generation} is used"
            raise Violation(change.ended, "A2", text)


def check_alike(log: Log) -> None:
    """A4."""
    at = max((one.at for one in log.keys), default=0.0)
    keys = {one.node: one.current for one in log.keys}
    nodes = sorted(log.final)
    for one, other in pairwise(nodes):
        if log.final[one] != log.final[other]:
            text = f"node {one} runs version {log.final[one][0]}, node {other} version {log.final[other][0]}"
            raise Violation(at, "A4", f"{text}: {title_of(log.final[one][1])}, {title_of(log.final[other][1])}")
        if keys[one] != keys[other]:
            text = f"node {one} uses cluster key generation {keys[one].generation} {keys[one].fingerprint}"
            text += f", node {other} {keys[other].generation} {keys[other].fingerprint}"
            raise Violation(at, "A4", text)


def check_calm(now: float, changes: list[Change], before: dict[NodeId, RingId], after: dict[NodeId, RingId]) -> None:
    """A2 and L4: what was asked for once everything had healed was done, and disturbed no ring.

    changes: these.  before, after: the ring of each listed node when the first was asked for, and now.
    """
    for change in changes:
        if change.outcome != DONE:
            text = f"{change.what} at node {change.node} after everything healed: {change.outcome} {change.why}"
            raise Violation(now, "A2", text.rstrip())
    if changes and before != after:
        raise Violation(now, "L4", "the ring was formed again while a change or a rotation was made in a calm")
