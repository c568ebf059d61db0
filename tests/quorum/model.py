"""Votequorum as a second, independent program: votequorum.md sections 3, 3.1 and 4, read line by line.

Nothing here is shared with quorum/ but the options' plain fields and the tie breaker's words. No device, no
configuration change; one deliberate difference is in it: a tracked number binds only while this node is not quorate.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from quorum.options import QuorumOptions


@dataclass
class Info:
    """A nodeinfo as it goes over the ring."""

    votes: int
    expected: int
    quorate: bool
    wfa: bool
    first: bool


@dataclass
class Entry:
    votes: int
    expected: int
    member: bool = True
    said: Info | None = None


@dataclass
class ModelNode:
    me: int
    options: QuorumOptions
    tracked: int = 0
    table: dict[int, Entry] = field(default_factory=dict)
    quorum: int = 0
    total: int = 0
    quorate: bool = False
    wfa: bool = False
    first: bool = True
    low: int = -1
    high: int = -1
    members: tuple[int, ...] = ()
    previous: tuple[int, ...] = ()
    lms: bool = False
    timer: bool = False

    def __post_init__(self) -> None:
        o = self.options
        self.wfa_on = o.two_node if o.wait_for_all is None else o.wait_for_all
        self.tracking = o.expected_votes_tracking
        self.wfa, self.lms = self.wfa_on, o.last_man_standing
        expected = o.expected_votes or sum(o.votes.values())
        if self.tracking:
            expected = max(expected, self.tracked)
        self.table[self.me] = Entry(o.votes[self.me], expected)
        self.recalculate(False, False)

    # -- section 3 -------------------------------------------------------------------------------------------

    def in_state_member(self) -> list[int]:
        return sorted(n for n, entry in self.table.items() if entry.member)

    def recalculate(self, allow_decrease: bool, by_node: bool) -> None:
        here = self.in_state_member()
        mine = self.table[self.me]
        all_votes = sum(self.table[n].votes for n in here)
        if all_votes > mine.expected:
            mine.expected = all_votes
        if self.tracking and mine.expected > self.tracked:
            self.tracked = mine.expected
        forced = len(here) if by_node else 0
        expected = forced or max(self.table[n].expected for n in here)
        q = max(expected, all_votes) // 2 + 1
        if not allow_decrease:
            q = max(q, self.quorum)
        if self.options.two_node and len(here) <= 2:
            q = 1
        self.quorum, self.total = q, all_votes
        if forced:
            for n in here:
                self.table[n].expected = forced
        self.verdict()

    def verdict(self) -> None:
        here = self.in_state_member()
        mine = self.table[self.me]
        if self.wfa_on and self.wfa:
            if self.total != mine.expected:
                return
            self.wfa = False
        yes = self.total >= self.quorum
        if yes:
            self.low, self.high = here[0], here[-1]
        if (
            self.options.auto_tie_breaker
            and self.total == mine.expected // 2
            and len(self.previous) - len(self.members) < self.quorum
            and self.tie_break()
        ):
            yes = True
        self.quorate = yes
        if self.wfa_on:
            self.wfa = not yes

    def tie_break(self) -> bool:
        how = self.options.auto_tie_breaker
        if how == "lowest":
            return self.low in self.in_state_member()
        if how == "highest":
            return self.high in self.in_state_member()
        for position, n in enumerate(how):
            if n in self.members:
                return not any(earlier in self.previous for earlier in how[:position])
        return False

    # -- section 3.1 -----------------------------------------------------------------------------------------

    def sync_init(self, members: tuple[int, ...]) -> None:
        if len(members) > 1:
            self.first = False
        gone = [n for n in self.members if n not in members]
        for n in gone:
            if n in self.table:
                self.table[n].member = False
        if self.lms:
            many = len(members) >= self.quorum and gone
            few = len(members) <= self.quorum and self.options.auto_tie_breaker and self.low in self.in_state_member()
            if many or few:
                self.timer = True
        self.previous, self.members = self.members, members

    def info(self) -> Info:
        mine = self.table[self.me]
        return Info(mine.votes, mine.expected, self.quorate, self.wfa, self.first)

    def nodeinfo(self, n: int, info: Info) -> None:
        old = self.table.get(n)
        was = (old.votes, old.expected, old.member, old.said) if old else None
        entry = self.table.setdefault(n, Entry(0, 0))
        entry.votes, entry.member, entry.said = info.votes, True, info
        decrease = False
        if not self.quorate and info.quorate:
            decrease = True
            self.table[self.me].expected = info.expected
        if info.quorate or (self.tracking and not self.quorate):
            entry.expected = info.expected
        else:
            entry.expected = self.table[self.me].expected
        if self.lms and info.votes > 1:
            self.lms = False
        flags_differ = was is None or was[3] is None or _flags(was[3]) != _flags(info)
        differs = was is None or was[:3] != (entry.votes, entry.expected, entry.member) or flags_differ
        if differs or n == self.me or info.first:
            self.recalculate(decrease, False)
        if self.wfa_on and n != self.me and info.quorate and not info.wfa:
            self.wfa = False

    def activate(self, infos: dict[int, Info]) -> None:
        for n in sorted(infos):
            self.nodeinfo(n, infos[n])
        self.recalculate(False, False)

    def set_expected(self, value: int) -> None:
        for n in self.in_state_member():
            self.table[n].expected = value
        if self.tracking:
            self.table[self.me].expected = max(value, self.tracked)
        self.recalculate(True, False)

    def window(self) -> None:
        if self.timer:
            self.timer = False
            if self.quorate:
                self.recalculate(True, True)

    def numbers(self) -> tuple[int, int, int, int, bool]:
        """(expected, highest expected, total, quorum, quorate)."""
        highest = max(self.table[n].expected for n in self.in_state_member())
        return self.table[self.me].expected, highest, self.total, self.quorum, self.quorate


def _flags(info: Info) -> tuple[bool, bool, bool]:
    return info.quorate, info.wfa, info.first
