"""Is there one order of all operations on a key that explains every answer and keeps real time? (S2)

The search of Wing and Gong with Lowe's memory of (what is placed, state), per key as porcupine does it. Operations
whose outcome is unknown may be placed anywhere after they began, or nowhere. Revisions only grow, so operations whose
answer tells one are placed in the order of these: what is left to search is where the others go. Of those, writes that
nobody can have seen are left out: they may always be placed nowhere.

Directories that are made and moved, and nothing else, are one object for each set of names that moves connect: the set
of those that exist.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import TypeVar

from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Call, History, Violation, ends_on_line, operation_id
from transport.ids import RingId

State = tuple[bytes | None, int | None]  # value, revision; revision None: set by an operation whose answer was lost
ABSENT: State = (None, 0)
MAX_STEPS = 400_000  # beyond, the key is left undecided: its history has too many unknown outcomes
CHECKED = ("put", "cas", "rm", "read")
MOVES = ("mkdir", "mv")
S = TypeVar("S")
Names = frozenset[str]  # of the directories that exist

MOST_BRANCHES = 4  # that are judged in one run


def check(history: History) -> int:
    """Raises Violation for a key without an order; returns how many keys were left undecided."""
    undecided = 0
    objects = [(key, calls, linearizable) for key, calls in registers(history)]
    objects += [(names, calls, moves_linearizable) for names, calls in directories(history)]
    for name, calls, judge in objects:
        verdict = judge(calls)
        if verdict is None:
            undecided += 1
        elif not verdict:
            last = max((c.ended for c in calls if c.ended is not None), default=0.0)
            raise Violation(last, "S2", f"no order of the {len(calls)} operations on {name} explains their answers")
    return undecided


def registers(history: History) -> list[tuple[str, list[Call]]]:
    """Each key with the operations on it, on the line that the cluster ended on and on each branch of its own.

    Keys that an operation on several entries may touch are left out: such operations are judged by what they say of
    revisions, and by the log (store.py, replay.py).
    """
    shared = {key for call in history.calls if call.kind in MOVES for key in (call.key, call.to)}
    calls = [c for c in history.calls if c.kind in CHECKED and c.outcome != REFUSED and c.key not in shared]
    found = []
    for line in _lines(history, calls):
        by_key: dict[str, list[Call]] = defaultdict(list)
        for call in line:
            by_key[call.key].append(call)
        found += sorted(by_key.items())
    return found


def directories(history: History) -> list[tuple[str, list[Call]]]:
    """The same of the names in the root that are only made and moved, those together that a move connects."""
    others = {key.split("/")[0] for c in history.calls if c.kind not in MOVES for key in (c.key, c.to)}
    calls = [c for c in history.calls if c.kind in MOVES and c.outcome != REFUSED]
    group: dict[str, set[str]] = {}
    for call in calls:
        names = {call.key, call.to} - {""}
        joined = set().union(names, *(group.get(name, ()) for name in names))
        group.update(dict.fromkeys(joined, joined))
    found = []
    for line in _lines(history, calls):
        by_group: dict[str, list[Call]] = defaultdict(list)
        for call in line:
            if not group[call.key] & others and not any("/" in name for name in group[call.key]):
                by_group[", ".join(sorted(group[call.key]))].append(call)
        found += sorted(by_group.items())
    return found


def _lines(history: History, calls: list[Call]) -> list[list[Call]]:
    """Of these the ones on the line that the cluster ended on, and those on each branch of its own."""
    branches = history.branches
    there = [replace(c, outcome=UNKNOWN) if c.id in branches.otherwise else c for c in calls]
    lines = [[c for c in there if c.outcome not in (ACKED, FAILED) or branches.keeps(c)]]
    answered = {c.epoch for c in calls if c.outcome in (ACKED, FAILED)}
    return lines + [_on_branch(history, calls, epoch) for epoch in sorted(answered & branches.torn)[:MOST_BRANCHES]]


def _on_branch(history: History, calls: list[Call], tip: RingId) -> list[Call]:
    """What the log that ends in epoch `tip` has of `calls`: with its answer each that was answered there, or before it
    began; what became here of the others is not known. Of the reads, those of `tip` itself."""
    ends = ends_on_line(history.epochs, tip)
    there = {
        operation_id(body)
        for (epoch, index), body in history.records.items()
        if body is not None and epoch in ends and index < ends[epoch]
    }
    found = []
    for call in calls:
        answered = call.outcome in (ACKED, FAILED)
        if call.is_read:
            if answered and call.epoch == tip:
                found.append(call)
        elif call.id in there:
            found.append(call if answered and call.epoch in ends else replace(call, outcome=UNKNOWN))
    return found


def linearizable(calls: list[Call]) -> bool | None:
    """True, False, or None when the search was given up."""
    # An open or unknown read promised nothing; an unknown write may yet happen, until for ever.
    calls = [c for c in calls if c.outcome in (ACKED, FAILED) or not c.is_read]
    written = {c.value for c in calls if c.kind in ("put", "cas")}
    if any(c.is_read and c.value is not None and c.value not in written for c in calls):
        return False
    return _search(_without_unseen(calls), apply, ABSENT)


def moves_linearizable(calls: list[Call]) -> bool | None:
    """The same for directories that are made and moved."""
    none: Names = frozenset()
    return _search(list(calls), apply_move, none)


def _search(calls: list[Call], apply: Callable[[S, Call], S | None], first: S) -> bool | None:
    calls.sort(key=lambda c: (c.invoked, c.ended if c.ended is not None else inf, c.id))
    begins = [c.invoked for c in calls]
    ends = [c.ended if c.outcome in (ACKED, FAILED) and c.ended is not None else inf for c in calls]
    wanted = sum(1 << i for i, c in enumerate(calls) if c.outcome in (ACKED, FAILED))
    needs = _placed_before(calls)
    seen: set[tuple[int, S]] = set()
    # Depth first: (placed, state, first index not placed, next candidate)
    stack: list[tuple[int, S, int]] = [(0, first, 0)]
    steps = 0
    while stack:
        placed, state, low = stack.pop()
        if placed & wanted == wanted:
            return True
        while low < len(calls) and placed >> low & 1:
            low += 1
        # Whoever is placed next must have begun before the earliest end among those not placed.
        earliest = inf
        for index in range(low, len(calls)):
            if begins[index] > earliest:
                break
            if not placed >> index & 1 and ends[index] < earliest:
                earliest = ends[index]
        found: list[tuple[int, S, int]] = []
        for index in range(low, len(calls)):
            if begins[index] > earliest:
                break
            if placed >> index & 1 or placed & needs[index] != needs[index]:
                continue
            steps += 1
            after = apply(state, calls[index])
            if after is None:
                continue
            key = (placed | 1 << index, after)
            if key not in seen:
                seen.add(key)
                found.append((key[0], after, low))
        # Tried first: what must be placed, the earliest begun; a lost answer only when nothing else explains the rest.
        found.sort(key=lambda branch: (branch[0] ^ placed) & wanted == 0)
        stack.extend(reversed(found))
        if steps > MAX_STEPS:
            return None
    return False


def _without_unseen(calls: list[Call]) -> list[Call]:
    """All but the puts without an answer that explain nothing: no read had their value, and no answer needs an entry
    that nobody is known to have written."""
    known = {c.revision for c in calls if c.outcome == ACKED}  # of writes, and of reads that name the writer's value
    named = {c.expected or 0 if c.outcome == ACKED else c.revision for c in calls if c.kind == "cas"} - {0}
    if named - known or any(c.kind == "rm" and c.outcome == ACKED for c in calls):
        return calls
    read = {c.value for c in calls if c.is_read}
    return [c for c in calls if c.outcome in (ACKED, FAILED) or c.kind == "rm" or c.value in read]


def _placed_before(calls: list[Call]) -> list[int]:
    """For each call the set, as bits, of those that must be placed before it because of the revisions they told."""
    told = sorted(
        (call.revision, call.kind == "read" or call.outcome == FAILED, index)
        for index, call in enumerate(calls)
        if call.outcome in (ACKED, FAILED) and call.revision and (call.kind in ("cas", "read") or call.outcome == ACKED)
    )
    needs = [0] * len(calls)
    before = group = 0
    current: tuple[int, bool] = (0, False)
    for revision, looks, index in told:
        if (revision, looks) != current:
            before, group, current = before | group, 0, (revision, looks)
        needs[index] = before
        group |= 1 << index
    return needs


def apply(state: State, call: Call) -> State | None:
    """The state after `call` with its answer, None when the answer does not fit the state."""
    value, revision = state
    known = call.outcome in (ACKED, FAILED)
    match call.kind:
        case "read":
            fits = call.value == value and revision in (None, call.revision)
            return (value, call.revision) if fits else None
        case "put":
            if call.outcome == FAILED:
                return state
            if known and revision is not None and call.revision <= revision:
                return None
            return (call.value, call.revision if known else None)
        case "cas":
            assert call.expected is not None
            if call.outcome == FAILED:
                if call.code not in ("", "CONFLICT"):  # full, too old to be told from a repetition: nothing changed
                    return state
                if call.revision == call.expected or not _matches(state, call.revision):
                    return None
                return (value, call.revision)
            if not _matches(state, call.expected):
                return None
            return (call.value, call.revision if known else None)
        case "rm":
            if call.outcome == FAILED:
                if call.code == "EXPIRED":  # begun in a history that was set aside: not judged in this one
                    return state
                return state if value is None else None
            return None if value is None else ABSENT
    raise AssertionError(call.kind)


def apply_move(state: Names, call: Call) -> Names | None:
    """The same for directories. A move onto another empty directory takes its place; one whose outcome is not known
    may have failed."""
    there = call.key in state
    if call.outcome == FAILED:
        fits = {"EXISTS": there, "NO_SUCH_ENTRY": not there}.get(call.code, True)  # others tell nothing of the names
        return state if fits else None
    possible = there if call.kind == "mv" else not there
    if not possible:
        return None if call.outcome == ACKED else state
    return (state - {call.key}) | {call.to} if call.kind == "mv" else state | {call.key}


def _matches(state: State, revision: int) -> bool:
    """Could an entry in this state have this revision (0: does not exist)?"""
    if revision == 0:
        return state[0] is None
    return state[0] is not None and state[1] in (None, revision)
