"""Votequorum as a second, independent program: votequorum.md sections 3, 3.1 and 4, read line by line.

Nothing here is shared with quorum/ but the options' plain fields (test_model.py looks). Without time: whoever drives it
says when a timer of the reference is over (`window`, `device_lost`). The deliberate differences of docs/quorum.md are
in it, marked by their row there: a tracked number binds only while this node is not quorate, who lost it waits,
allow_downscale, the node that was added and has not joined yet, members that compare the versions of their
configurations, members without a vote under last_man_standing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from quorum.options import QuorumOptions


@dataclass
class Info:
    """A nodeinfo as it goes over the ring: about the sender, then about the device as it knows it.

    newcomer: the listed node that the sender does not count yet, 0 for none.
    """

    votes: int
    expected: int
    quorate: bool
    wfa: bool
    first: bool
    leaving: bool = False
    registered: bool = False
    alive: bool = False
    cast: bool = False
    master: bool = False
    newcomer: int = 0
    device_votes: int = 0
    device_name: str = ""


@dataclass
class Entry:
    votes: int
    expected: int
    member: bool = True
    said: Info | None = None


@dataclass
class ModelNode:
    """tracked, newcomer: as they were on disk at start.  lost: there was something on disk, and it is not known."""

    me: int
    options: QuorumOptions
    tracked: int = 0
    newcomer: int = 0
    lost: bool = False
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
    by_votes: bool = True  # what the last yes rests on: not a tie breaker, nor a master
    registered: bool = False
    alive: bool = False
    cast: bool = False
    master: bool = False
    name: str = ""
    half_heard: bool = False  # the words of a barrier: loss of quorum is judged on all of them
    ahead: bool = False  # by what it was told at the last barrier
    outdated: set[int] = field(default_factory=set)  # who ran less than the configuration in force at that barrier
    dismissed: set[int] = field(default_factory=set)  # in the ring still, and in the configuration no more

    def __post_init__(self) -> None:
        o = self.options
        self.wfa_on = o.two_node if o.wait_for_all is None else o.wait_for_all
        self.tracking = o.expected_votes_tracking or o.allow_downscale
        self.lms = o.last_man_standing
        if self.newcomer == self.me or self.newcomer not in o.votes:
            self.newcomer = 0
        self.tracked = self.tracked if self.tracking else 0
        self.wfa = self.wfa_on or (self.lost and self.tracking)
        self.device_votes = self._configured_device()
        self.floor = self._configured(self.newcomer)
        self.table[self.me] = Entry(o.votes.get(self.me, 1), max(self.floor, self.tracked))
        self.recalculate(False)

    def _configured_device(self) -> int:
        o = self.options
        if not o.device:
            return 0
        return len(o.votes) - 1 if o.device_votes is None else o.device_votes

    def _configured(self, uncounted: int) -> int:
        """Expected votes by configuration (4.1), without a node that has not joined yet."""
        o = self.options
        return o.expected_votes or sum(v for n, v in o.votes.items() if n != uncounted) + self._configured_device()

    # -- section 3 -------------------------------------------------------------------------------------------

    def in_state_member(self) -> list[int]:
        return sorted(n for n, entry in self.table.items() if entry.member)

    def most_expected(self) -> int:
        return max((self.table[n].expected for n in self.in_state_member()), default=0)

    def recalculate(self, allow_decrease: bool, forced: int = 0) -> None:
        """forced: what is expected from now on, 0 for no change of it."""
        here = self.in_state_member()
        mine = self.table[self.me]
        votes = sum(self.table[n].votes for n in here)
        if votes + self.device_votes > mine.expected:
            mine.expected = votes + self.device_votes
        if self.tracking and mine.expected > self.tracked:
            self.tracked = mine.expected
        if forced and self.options.allow_downscale:
            forced = max(forced, self.floor)
        if forced:
            for n in here:
                self.table[n].expected = forced
        self._forget_who_is_counted()
        total = votes + (self.device_votes if self.cast else 0)
        q = max(self.most_expected(), total) // 2 + 1
        if not allow_decrease:
            q = max(q, self.quorum)
        if self.options.two_node and len(here) + self.cast <= 2:
            q = 1
        self.quorum, self.total = q, total
        self._verdict()

    def _verdict(self) -> None:
        here = self.in_state_member()
        mine = self.table[self.me]
        if self.wfa:
            if self.total != mine.expected:
                return
            self.wfa = False
        self.by_votes = self.total >= self.quorum
        if self.by_votes:
            self.low, self.high = (here[0], here[-1]) if here else (-1, -1)
        self.quorate = self.by_votes or self._tie() or self._some_master()
        self.wfa = self.wfa_on and not self.quorate and not self.half_heard

    def _tie(self) -> bool:
        half = self.total == self.table[self.me].expected // 2
        few_left = len(self.previous) - len(self.members) < self.quorum
        return bool(self.options.auto_tie_breaker) and half and few_left and self._tie_break()

    def _tie_break(self) -> bool:
        how = self.options.auto_tie_breaker
        if how == "lowest":
            return self.low in self.in_state_member()
        if how == "highest":
            return self.high in self.in_state_member()
        for position, n in enumerate(how):
            if n in self.members:
                return not any(earlier in self.previous for earlier in how[:position])
        return False

    def _some_master(self) -> bool:
        """Some member has both MASTER_WINS and CAST_VOTE; asked where master_wins is on."""
        if not self.master:
            return False
        others = [self.table[n].said for n in self.in_state_member() if n != self.me]
        return self.cast or any(said is not None and said.master and said.cast for said in others)

    # -- section 3.1 -----------------------------------------------------------------------------------------

    def sync_init(self, members: tuple[int, ...]) -> None:
        """timer: the window of last_man_standing starts (again) here. The device votes for one ring only."""
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
        self.dismissed, self.outdated = set(), set()
        self.ahead = False
        self.cast = False

    def info(self, leaving: bool = False) -> Info:
        mine = self.table[self.me]
        device = (self.registered, self.alive, self.cast, self.master)
        flags = (self.quorate, self.wfa, self.first, leaving, *device)
        return Info(mine.votes, mine.expected, *flags, self.newcomer, self.device_votes, self.name)

    def nodeinfo(self, n: int, info: Info) -> None:
        if n in self.dismissed:
            return
        if self.ahead:
            votes = info.votes if n == self.me else self.options.votes.get(n, info.votes)
            most = max(info.expected, self.table[self.me].expected)
            info = replace(info, votes=votes, expected=most, newcomer=self.newcomer)
        if n in self.outdated:
            info = replace(info, expected=min(info.expected, max(self._listed(), self.table[self.me].expected)))
        old = self.table.get(n)
        was = None if old is None else (old.votes, old.expected, old.member, _flags(old.said))
        entry = self.table.setdefault(n, Entry(0, 0))
        was_member = was is not None and was[2]
        entry.votes, entry.member, entry.said = info.votes, not info.leaving, info
        decrease = False
        if not self.quorate and info.quorate:
            decrease = True
            self.table[self.me].expected = info.expected
            self.newcomer = info.newcomer  # the number, and who is left out of it
        if info.quorate or (self.tracking and not self.quorate):
            entry.expected = info.expected
        else:
            entry.expected = self.table[self.me].expected
        if self.lms and info.votes > 1:
            self.lms = False
        if info.leaving and was_member:
            self._leaves()
        elif was != (entry.votes, entry.expected, entry.member, _flags(info)) or n == self.me or info.first:
            self.recalculate(decrease)
        if self.wfa and n != self.me and info.quorate and not info.wfa:
            self.wfa = False
        if n != self.me and self.options.device:
            self._nodeinfo_of_device(info)

    def _nodeinfo_of_device(self, info: Info) -> None:
        """Nodeinfo about node 0."""
        believed = info.quorate and not self.quorate
        votes = info.device_votes if believed else max(info.device_votes, self.device_votes)
        if votes != self.device_votes:
            self.device_votes = votes
            self.recalculate(False)

    def _leaves(self) -> None:
        """Somebody leaves cleanly: a quorate component expects no more than who remains, down to the floor (4.6)."""
        remaining = max(self.floor, sum(self.table[n].votes for n in self.in_state_member()))
        lowers = self.options.allow_downscale and self.quorate and remaining < self.most_expected()
        self.recalculate(lowers, remaining if lowers else 0)

    def activate(self, infos: dict[int, Info], newest: Collection[int] = (), ahead: bool = False) -> bool:
        """newest: who runs the configuration in force; none: all run the same. ahead: this node runs a newer one.

        True: it says so to all that it is quorate now, to one who was not and counts otherwise.
        """
        self.ahead, words = ahead, infos
        if not (ahead or self.quorate) and (not newest or self.me in newest):
            same = [info for n, info in infos.items() if not newest or n in newest]
            self._joined_while_away(same)
        infos = self._with_newcomer_counted(infos, () if ahead or self.me in newest else newest)
        if newest:
            infos = {n: info if n in newest else replace(info, quorate=False) for n, info in infos.items()}
            if ahead or self.me in newest:
                others = [n for n in infos if n != self.me and (ahead or n not in newest)]
                self.outdated = set() if ahead else set(others)
                infos |= {n: replace(infos[n], votes=self.options.votes.get(n, infos[n].votes)) for n in others}
            if not ahead and self.me not in newest:
                self._learn_from([infos[n] for n in sorted(newest) if n in infos])
        self.half_heard = True
        for n in sorted(infos):
            self.nodeinfo(n, infos[n])
        self.half_heard = False
        self.recalculate(False)
        if not self.quorate or ahead or (newest and self.me not in newest):
            return False
        mine = self.table[self.me].expected
        return any(not i.quorate and (i.wfa or i.expected != mine) for n, i in words.items() if n != self.me)

    def set_expected(self, value: int, configured: bool = False) -> None:
        """Reconfigure 1. configured: a configuration says so, and what was tracked until now binds no longer."""
        self.floor = value
        for n in self.in_state_member():
            self.table[n].expected = value
        if self.tracking:
            self.tracked = value if configured else self.tracked
            self.table[self.me].expected = max(value, self.tracked)
        self.recalculate(True)

    def set_votes(self, n: int, value: int) -> None:
        """Reconfigure 2."""
        self.table[n].votes = value
        self.recalculate(True)

    def cancel_wait(self) -> None:
        """Reconfigure 3."""
        self.wfa = False
        self.recalculate(False)

    def window(self) -> None:
        if self.timer:
            self.timer = False
            if self.quorate and self.lms:
                with_votes = [n for n in self.in_state_member() if self.table[n].votes]
                self.recalculate(True, len(with_votes) + bool(self.device_votes))

    def device(self, registered: bool, alive: bool, cast: bool, master: bool, name: str, votes: int) -> bool:
        """A poll of the device's client. True: something of it is new."""
        alive, master = alive and registered, master and registered
        told = (registered, alive, cast and alive, master, name if registered else "", votes)
        if told == (self.registered, self.alive, self.cast, self.master, self.name, self.device_votes):
            return False
        self.registered, self.alive, self.cast, self.master, self.name, self.device_votes = told
        self.recalculate(False)
        return True

    def device_lost(self) -> bool:
        """No poll came for too long. True: that is news."""
        if self.alive:
            self.alive = self.cast = False
            self.recalculate(False)
            return True
        return False

    # -- configurations (docs/quorum.md) ---------------------------------------------------------------------

    def configure(self, options: QuorumOptions, late: bool = False) -> tuple[int, int] | None:
        """The live keys of a new configuration; returns expected votes (0: as before) and own votes to be told to all.

        late: the others run it already, so they know better what is expected now, and who has joined.
        """
        old, mine = self.options, self.table[self.me]
        own_before, own_after = old.votes.get(self.me, mine.votes), options.votes.get(self.me, mine.votes)
        expected_before = self._configured(self.newcomer)
        if late:
            self.newcomer = self.newcomer if self.newcomer in options.votes else 0
        else:
            added = set(options.votes) - set(old.votes) - set(self.members)
            waiting = [n for n in sorted({*added, self.newcomer} - {self.me}) if options.votes.get(n, 0)]
            self.newcomer = waiting[0] if len(waiting) == 1 and options.votes[waiting[0]] == 1 else 0
        if options.two_node != old.two_node:
            waits = options.two_node if options.wait_for_all is None else options.wait_for_all
            if waits and not self.wfa_on:
                self.wfa = not self.quorate
            self.wfa_on = waits
        if not self.wfa_on:
            self.wfa = False
        self.options = replace(
            options,
            wait_for_all=self.wfa_on,
            last_man_standing=old.last_man_standing,
            last_man_standing_window=old.last_man_standing_window,
            auto_tie_breaker=old.auto_tie_breaker,
            allow_downscale=old.allow_downscale,
            expected_votes_tracking=old.expected_votes_tracking,
        )
        self.device_votes = self._configured_device()
        self._forget_who_is_counted()
        value = self._configured(self.newcomer)
        if value == expected_before:
            value = self._no_longer_there(old.votes, options.votes, value)
        if late and value and self.tracking:
            self.tracked = value
        value = 0 if late else value
        self._dismiss({n for n in old.votes if n in self.members and n not in options.votes}, value)
        if late and not self.quorate:
            mine.expected = max(mine.expected, self._configured(self.newcomer))
            bound = self.tracked if self.tracking else 0
            if mine.expected > self._listed() >= bound:
                mine.expected, self.quorum = self._listed(), 0
        if not options.device:
            self.registered = self.alive = self.cast = self.master = False
            self.name = ""
        self.recalculate(False)
        if not value and own_after == own_before:
            return None
        return value, own_after if own_after != own_before else mine.votes

    def _listed(self) -> int:
        """No more votes than these can there be."""
        return max(self.options.expected_votes, sum(self.options.votes.values()) + self._configured_device())

    def _no_longer_there(self, before: Mapping[int, int], after: Mapping[int, int], configured: int) -> int:
        """ "No votes are expected that nobody has any more": 0 if none were lost, or not so many are expected."""
        if all(after.get(n, 0) >= votes for n, votes in before.items()):
            return 0
        listed = sum(votes for n, votes in after.items() if n != self.newcomer) + self._configured_device()
        most = max(configured, listed)
        return most if self.table[self.me].expected > most else 0

    def _dismiss(self, gone: set[int], value: int) -> None:
        """ "Counted no longer, at its place in the order": and what is expected falls there too, by no message."""
        self.dismissed = {n for n in self.dismissed | gone if n not in self.options.votes} - {self.me}
        kept = ({*self.options.votes, *self.members} - self.dismissed) | {self.me}
        self.table = {n: entry for n, entry in self.table.items() if n in kept}
        if gone - {self.me} and value:
            self.set_expected(value, configured=True)

    def _forget_who_is_counted(self) -> None:
        """ "One in the place of another counts at once": if as many are expected as with it, it is no newcomer."""
        if self.newcomer in self.options.votes and self.table[self.me].expected >= self._configured(0):
            self.newcomer = 0

    def _with_it(self, expected: int, newcomer: int) -> int:
        """What is expected once the newcomer is counted: not more than is configured, nor where a number is given."""
        if self.options.expected_votes:
            return expected
        return max(expected, min(expected + self.options.votes.get(newcomer, 0), self._configured(0)))

    def _with_newcomer_counted(self, infos: dict[int, Info], newer: Collection[int]) -> dict[int, Info]:
        """ "Counted when it first joins": by all alike, whoever of them had left it out. newer: who of them knows
        better than this node how many there are."""
        here = {info.newcomer for info in infos.values()} & set(self.members)
        if self.newcomer in self.members:
            self._count_it()
        if not here:
            return infos
        if newer:
            least = max((infos[n].expected + 1 for n in newer if n in infos and infos[n].newcomer in here), default=0)
        else:
            least = max(self._with_it(info.expected, info.newcomer) for info in infos.values() if info.newcomer in here)
        return {
            n: replace(
                info,
                expected=max(info.expected, least),
                newcomer=0 if info.newcomer in here else info.newcomer,
            )
            for n, info in infos.items()
        }

    def _joined_while_away(self, others: list[Info]) -> None:
        """Who is not quorate and meets somebody that counts the newcomer counts it as well."""
        known = [o for o in others if o.newcomer != self.newcomer and o.expected > self.table[self.me].expected]
        if self.newcomer and self.newcomer not in self.members and known:
            self._count_it()

    def _count_it(self) -> None:
        mine = self.table[self.me]
        more = self._with_it(mine.expected, self.newcomer)
        self.floor += more - mine.expected
        mine.expected, self.newcomer = more, 0

    def _learn_from(self, others: list[Info]) -> None:
        """ "By an older configuration nobody is quorate, and who has it expects at least what the others expect"."""
        self.quorate = False
        if not others:
            return
        best = max(others, key=lambda info: (info.quorate, info.expected, info.newcomer))
        if best.quorate:
            self.quorum = 0
        if best.quorate or best.expected >= self.table[self.me].expected:
            self.table[self.me].expected, self.newcomer = best.expected, best.newcomer

    def numbers(self) -> tuple[int, int, int, int, bool]:
        """(expected, highest expected, total, quorum, quorate)."""
        return self.table[self.me].expected, self.most_expected(), self.total, self.quorum, self.quorate


def _flags(info: Info | None) -> tuple[bool, ...] | None:
    if info is None:
        return None
    device = (info.registered, info.alive, info.cast, info.master)
    return info.quorate, info.wfa, info.first, info.leaving, *device
