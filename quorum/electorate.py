"""Who is here with how many votes, and whether that is enough: the reference's machine, event by event, without time.

Each method is one event of facts/votequorum.md section 3.1; `_recalculate`, `_threshold` and `_decide` are section 3.
True between any two calls:
    the threshold never goes down but by an operator, a configuration, a clean leave under allow_downscale, the
    last-man-standing window, or, while this node is not quorate, a quorate member's word
Deliberate differences (section 13): wide integers; the barrier of allow_downscale holds for expected votes too and
only a quorate component lowers them; the highest expected votes on disk bind only while nobody quorate is heard; a
node added to the nodelist is counted once it joins (`newcomer`).

Why the newcomer is safe: one listed node with one vote may be left out, so with F votes in all every node expects F
or F-1, and whoever is in a component with the newcomer expects F. Two disjoint components would need F//2+1 and
(F-1)//2+1 votes, F+1 in sum. With more than one vote waiting that fails, so then all are counted at once. It rests on
`expected` and `newcomer` being one pair wherever they go: to a node that adopts a quorate member's number, and to one
that was away while the configuration changed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from enum import Enum

from quorum.events import SavedState
from quorum.messages import Flag, NodeInfo
from quorum.options import QuorumOptions
from quorum.table import Device, Row, State
from quorum.votes import threshold, tie_breaker
from transport.core import Log
from transport.ids import NodeId


class Rule(Enum):
    """What the last verdict rests on."""

    VOTES = "votes"
    WAITING = "waiting for all"
    TIE = "tie broken"
    MASTER = "master wins"


class Electorate:
    """The table of one node and its verdict (`quorate`)."""

    def __init__(
        self, me: NodeId, options: QuorumOptions, saved: SavedState, name_of: Callable[[NodeId], str], log: Log
    ) -> None:
        self.me = me
        self.options = options
        self.newcomer = saved.newcomer if saved.newcomer in options.votes and saved.newcomer != me else 0
        self.highest_expected = saved.highest_expected if options.tracks_expected else 0
        self.barrier = configured_expected(options, self.newcomer)  # the floor of allow_downscale
        self.device = Device()
        self.device_votes = options.votes_of_device
        self.device_names: dict[NodeId, str] = {}  # registered at other members
        self.members: tuple[NodeId, ...] = ()
        self.previous: tuple[NodeId, ...] = ()
        self.quorum = 0
        self.total = 0
        self.quorate = False
        self.rule = Rule.VOTES
        self.breaker: NodeId = 0  # who broke the tie
        self.lowest: NodeId = 0  # 0 until once quorate: the reference's -1
        self.highest: NodeId = 0
        # Who forgot how large the cluster once was must not call a part of it the majority by itself.
        forgot = saved.lost and options.tracks_expected
        self.waiting = options.waits_for_all or forgot
        if forgot:
            log.warning("expected_votes_tracking: the highest seen is lost; waiting for a quorate member, or for all")
        self.last_man_standing = options.last_man_standing
        self._first = True
        self._name_of = name_of
        self._log = log
        self.own = Row(options.votes.get(me, 1), max(self.barrier, self.highest_expected))
        self.rows: dict[NodeId, Row] = {me: self.own}
        self._removed: frozenset[NodeId] = frozenset()  # still in the ring, no longer in the configuration
        self._ahead = False  # our configuration is newer than the one in force here
        self._older: frozenset[NodeId] = frozenset()  # members whose configuration was older at the last barrier
        self._counting = False  # in the middle of a barrier's words, not all of which are counted yet
        self._recalculate()

    # -- what is here ----------------------------------------------------------------------------------------

    @property
    def present(self) -> dict[NodeId, int]:
        """Votes of the nodes in state member, by id."""
        return {n: row.votes for n, row in sorted(self.rows.items()) if row.state is State.MEMBER}

    @property
    def counted(self) -> int:
        """Members, and one for the device if we cast its vote."""
        return len(self.present) + self.device.cast

    @property
    def most_expected(self) -> int:
        """The highest expected votes of the members."""
        return max((row.expected for row in self.rows.values() if row.state is State.MEMBER), default=0)

    @property
    def by_special_rule(self) -> bool:
        """The yes rests on more than votes: it stands only while all members are heard."""
        return self.rule is not Rule.VOTES

    @property
    def saved(self) -> SavedState:
        return SavedState(self.highest_expected, self.newcomer)

    def node_info(self, leaving: bool = False) -> NodeInfo:
        """What we say about ourselves now."""
        flags = self._own_flags() | (Flag.LEAVING if leaving else Flag.NONE)
        name = self.device.name if self.device.registered else ""
        return NodeInfo(self.own.votes, self.own.expected, flags, self.newcomer, self.device_votes, name)

    # -- events ----------------------------------------------------------------------------------------------

    def begin(self, members: tuple[NodeId, ...]) -> bool:
        """A new configuration. True: the last-man-standing window starts (again) now."""
        if len(members) > 1:
            self._first = False
        left = [node for node in self.members if node not in members]
        for node in left:
            self.device_names.pop(node, None)
            if node in self.rows:  # not there if the barrier in which it would have spoken was interrupted
                self.rows[node].state = State.DEAD
        self.previous, self.members = self.members, members
        self._removed = self._older = frozenset()
        self._ahead = False
        if not self.last_man_standing:
            return False
        held = bool(self.options.auto_tie_breaker) and self.lowest in self.present
        return (len(members) >= self.quorum and bool(left)) or (len(members) <= self.quorum and held)

    def settle(self, infos: dict[NodeId, NodeInfo], newest: Collection[NodeId] = (), ahead: bool = False) -> None:
        """All members' words about themselves are in: each in order of id, then the verdict on all of them.

        newest: who runs the configuration in force; none: all the same. An older one may count too few votes: by it
        nobody is quorate, or expects less than those who know better. ahead: this node runs a newer one, which the
        others have not heard of: it counts by its own, for others with that may be about.
        """
        newcomers = {info.newcomer for info in infos.values()} & set(self.members)
        behind = bool(newest) and self.me not in newest and not ahead
        known = [info for node, info in infos.items() if not newest or node in newest]
        if self.newcomer in self.members or (not (behind or ahead or self.quorate) and self._joined_meanwhile(known)):
            self._count_newcomer()
        # Said before it was known that the newcomer is here: count it in what each member expects.
        if behind:  # our list does not say how many votes there can be; a newcomer has one
            risen = [info.expected + 1 for info in known if info.newcomer in newcomers]
        else:
            risen = [self._risen(info.expected, info.newcomer) for info in infos.values() if info.newcomer in newcomers]
        if risen:
            infos = {
                node: replace(
                    info,
                    expected=max(info.expected, *risen),
                    newcomer=0 if info.newcomer in newcomers else info.newcomer,
                )
                for node, info in infos.items()
            }
        if newest:
            infos = {n: i if n in newest else replace(i, flags=i.flags & ~Flag.QUORATE) for n, i in infos.items()}
            self._ahead = ahead
            if behind:
                self._believe([infos[node] for node in sorted(newest) if node in infos])
            elif not ahead:  # who runs another one says its votes by that
                self._older = frozenset(infos.keys() - set(newest))
                listed = self.options.votes
                infos = {n: i if n in newest else replace(i, votes=listed.get(n, i.votes)) for n, i in infos.items()}
        self._counting = True
        for node, info in sorted(infos.items()):
            self.on_node_info(node, info)
        self._counting = False
        self._recalculate()

    def must_tell(self, infos: dict[NodeId, NodeInfo], newest: Collection[NodeId]) -> bool:
        """Quorate by these words, while a member that was not expects another number, or waits for more: it counts by
        that, and hears of our verdict by no word of this barrier."""
        if not self.quorate or self._ahead or (newest and self.me not in newest):
            return False
        others = [info for node, info in infos.items() if node != self.me and not info.flags & Flag.QUORATE]
        return any(info.flags & Flag.WAITING or info.expected != self.own.expected for info in others)

    def _joined_meanwhile(self, infos: list[NodeInfo]) -> bool:
        """Somebody with our configuration counts the newcomer: it joined while we were away."""
        mine, expected = self.newcomer, self.own.expected
        return bool(mine) and any(info.newcomer != mine and info.expected > expected for info in infos)

    def _as_we_count(self, node: NodeId, info: NodeInfo) -> NodeInfo:
        """A member's word by an older configuration: it may be quorate, but knows less of who there is."""
        votes = info.votes if node == self.me else self.options.votes.get(node, info.votes)
        return replace(info, votes=votes, expected=max(info.expected, self.own.expected), newcomer=self.newcomer)

    def _believe(self, others: list[NodeInfo]) -> None:
        """Our configuration is older than theirs: what they expect counts, most of all if they are quorate.

        The number and who is left out of it belong together.
        """
        best = max(others, key=lambda info: (info.flags & Flag.QUORATE, info.expected, info.newcomer), default=None)
        self.quorate = False
        if best is None or (not best.flags & Flag.QUORATE and best.expected < self.own.expected):
            return
        if best.flags & Flag.QUORATE:
            self.quorum = 0
        self.own.expected, self.newcomer = best.expected, best.newcomer

    def on_node_info(self, node: NodeId, info: NodeInfo) -> None:
        """`node` about itself, and about the device."""
        if node in self._removed:
            return
        if self._ahead:
            info = self._as_we_count(node, info)
        elif node in self._older:  # the highest it has seen binds no further than this configuration lists votes
            info = replace(info, expected=min(info.expected, max(self.own.expected, self._most_listed)))
        row = self.rows.get(node)
        before = None if row is None else replace(row)
        if row is None:
            row = self.rows[node] = Row(info.votes, self.own.expected)
        row.votes, row.flags = info.votes, info.flags
        row.state = State.LEAVING if info.flags & Flag.LEAVING else State.MEMBER
        says_quorate = bool(info.flags & Flag.QUORATE)
        adopts = says_quorate and not self.quorate
        if adopts:
            self.own.expected = info.expected
            # The number and who is left out of it belong together: or it would be let in without being counted.
            self.newcomer = info.newcomer
        tracked = self.options.tracks_expected and not self.quorate
        row.expected = info.expected if says_quorate or tracked else self.own.expected
        if self.last_man_standing and info.votes > 1:
            self._log.error(f"last_man_standing is off: {self._name_of(node)} has {info.votes} votes, 1 is needed")
            self.last_man_standing = False
        if row.state is State.LEAVING and before is not None and before.state is State.MEMBER:
            self._leaves(node)
        elif row != before or node == self.me or info.flags & Flag.FIRST:
            self._recalculate(decrease=adopts)
        if self.waiting and node != self.me and says_quorate and not info.flags & Flag.WAITING:
            self._stop_waiting(f"{self._name_of(node)} is quorate")
        self._on_device_info(node, info, says_quorate)

    def on_expected(self, value: int, configured: bool = False) -> None:
        """An operator, or a configuration that came into force, set expected votes of all, and the floor.

        configured: by the agreement of a quorate cluster; the highest number seen so far binds no longer.
        """
        self.barrier = value
        self._expect(value)
        if configured and self.options.tracks_expected:
            self.highest_expected = value
        if self.options.tracks_expected:
            self.own.expected = max(value, self.highest_expected)
        self._recalculate(decrease=True)

    def on_votes(self, node: NodeId, value: int) -> None:
        """An operator, or its configuration, set the votes of `node`."""
        self.rows[node].votes = value
        self._recalculate(decrease=True)

    def on_cancel(self) -> None:
        """An operator ended the wait for all."""
        if self.waiting:
            self._stop_waiting("an operator cancelled it")
        self._recalculate()

    def on_window(self) -> None:
        """The last-man-standing window is over: who is here now is all there is (4.4)."""
        if self.quorate and self.last_man_standing:
            voters = sum(votes > 0 for votes in self.present.values())
            self._recalculate(decrease=True, forced=voters + bool(self.device_votes))

    def recount(self) -> None:
        """Something of our own has changed: our device's vote, or what is configured."""
        self._recalculate()

    def configure(self, options: QuorumOptions, late: bool = False) -> int:
        """The live keys of a new configuration (section 6); returns its expected votes if they differ, else 0.

        Who is not listed any more is counted no longer, though the ring without it has yet to form: else its votes
        would be expected for good. late: the others run it already, and it was heard from them who of the nodes
        listed is not counted yet.
        """
        newcomer = self.newcomer_of(options)
        expected = self.expected_by(options, newcomer)
        if not late:
            self.newcomer = newcomer
        elif self.newcomer not in options.votes:
            self.newcomer = 0
        implied = options.waits_for_all if options.two_node != self.options.two_node else self.options.waits_for_all
        if implied and not self.options.waits_for_all:
            self.waiting = not self.quorate
        elif not implied:
            self.waiting = False
        listed = frozenset(options.votes)
        gone = frozenset(self.options.votes.keys() - listed - {self.me}).intersection(self.members)
        self._removed = (self._removed | gone) - listed
        self.options = live(self.options, options, implied)
        self.device_votes = options.votes_of_device
        kept = {*listed, *self.members, self.me} - self._removed
        self.rows = {node: row for node, row in self.rows.items() if node in kept}
        if gone and expected and not late:
            self.on_expected(expected, configured=True)  # all do so here in the order; a message may be too late
        elif late and expected and self.options.tracks_expected:
            self.highest_expected = expected  # as it became on those who took it in its time
        self._forget_counted()  # now, or the others would be told a number without it
        return expected

    def take_expected(self) -> None:
        """These options came late, and nobody quorate said how many votes are expected: at least what they say. No
        more than there are, unless the highest seen binds: a node was removed while we were away."""
        expected, most = max(self.own.expected, configured_expected(self.options, self.newcomer)), self._most_listed
        if expected > most and not (self.options.tracks_expected and self.highest_expected > most):
            expected, self.quorum = most, 0
        self.own.expected = expected

    @property
    def _most_listed(self) -> int:
        """As many votes as the configuration lists, or expects."""
        return max(self.options.configured_expected, configured_expected(replace(self.options, expected_votes=0), 0))

    def expected_by(self, options: QuorumOptions, newcomer: NodeId) -> int:
        """Expected votes once `options` are in force with `newcomer` left out; 0: as they are now.

        What an operator, or the votes present, made of the number stays, as long as the configuration says what it
        said. But no votes are expected that nobody has any more.
        """
        wanted = configured_expected(options, newcomer)
        if wanted != configured_expected(self.options, self.newcomer):
            return wanted
        fewer = any(options.votes.get(node, 0) < votes for node, votes in self.options.votes.items())
        most = max(wanted, configured_expected(replace(options, expected_votes=0), newcomer))
        return most if fewer and most < self.own.expected else 0

    def newcomer_of(self, options: QuorumOptions) -> NodeId:
        """The one listed node that `options` need not count until it joins, 0 for none, or one in place of another."""
        if self.own.expected >= configured_expected(options, 0):
            return 0
        added = options.votes.keys() - self.options.votes.keys() - set(self.members)
        waiting = {n for n in added | {self.newcomer} if options.votes.get(n, 0)} - {self.me}
        return min(waiting) if len(waiting) == 1 and options.votes[min(waiting)] == 1 else 0

    # -- the calculation -------------------------------------------------------------------------------------

    def _recalculate(self, decrease: bool = False, forced: int = 0) -> None:
        votes = sum(self.present.values()) + self.device_votes
        self.own.expected = max(self.own.expected, votes)
        if self.options.tracks_expected:
            self.highest_expected = max(self.highest_expected, self.own.expected)
        if forced:
            self._expect(max(forced, self.barrier) if self.options.allow_downscale else forced)
        self._forget_counted()
        self.total = sum(self.present.values()) + (self.device_votes if self.device.cast else 0)
        self.quorum = threshold(
            self.most_expected,
            self.total,
            counted=self.counted,
            two_node=self.options.two_node,
            floor=0 if decrease else self.quorum,
        )
        self._decide()
        self.own.flags = self._own_flags()

    def _forget_counted(self) -> None:
        """Who is expected anyway, or in the place of another, is counted, whoever it was that saw it join."""
        if self.newcomer in self.options.votes and self.own.expected >= configured_expected(self.options, 0):
            self.newcomer = 0

    def _decide(self) -> None:
        if self.waiting and self.total != self.own.expected:
            self.rule = Rule.WAITING
            return
        if self.waiting:
            self._stop_waiting(f"all {self.total} votes are present")
        quorate, self.rule, self.breaker = self.total >= self.quorum, Rule.VOTES, 0
        here = self.present
        if quorate:
            self.lowest, self.highest = min(here, default=0), max(here, default=0)
        if not quorate and self._is_tie():
            breaker = self.options.auto_tie_breaker
            members = here if isinstance(breaker, str) else self.members
            self.breaker = tie_breaker(breaker, members, self.previous, self.lowest, self.highest)
            if self.breaker:
                quorate, self.rule = True, Rule.TIE
        if not quorate and self._master():
            quorate, self.rule = True, Rule.MASTER
        self.quorate = quorate
        # Whose majority needs one who has just come has not lost it before that one is counted.
        self.waiting = self.options.waits_for_all and not quorate and not self._counting

    def _is_tie(self) -> bool:
        return (
            bool(self.options.auto_tie_breaker)
            and self.total == self.own.expected // 2
            and len(self.previous) - len(self.members) < self.quorum
        )

    def _master(self) -> NodeId:
        """A member that holds the device's vote, in the mode in which that decides; 0 for none. Ours first."""
        if not self.device.master_wins:
            return 0
        both = Flag.MASTER_WINS | Flag.DEVICE_CAST
        if self.device.cast:
            return self.me
        holders = [n for n in self.present if n != self.me and self.rows[n].flags & both == both]
        return min(holders, default=0)

    def _expect(self, value: int) -> None:
        """Expected votes of all members := value."""
        for row in self.rows.values():
            if row.state is State.MEMBER:
                row.expected = value

    def _leaves(self, node: NodeId) -> None:
        """A clean leave, told only under allow_downscale: a quorate component lowers expected votes by it (4.6)."""
        remaining = max(self.barrier, sum(self.present.values()))
        if self.quorate and self.options.allow_downscale and remaining < self.most_expected:
            self._log.info(
                f"{self._name_of(node)} leaves cleanly: expected votes {self.most_expected} -> {remaining}, "
                f"never below {self.barrier}"
            )
            self._recalculate(decrease=True, forced=remaining)
        else:
            self._recalculate()

    def _on_device_info(self, node: NodeId, info: NodeInfo, says_quorate: bool) -> None:
        if node == self.me or not self.options.device:
            return
        if info.device_name:
            self.device_names[node] = info.device_name
        else:
            self.device_names.pop(node, None)
        votes = info.device_votes if says_quorate and not self.quorate else max(info.device_votes, self.device_votes)
        if votes != self.device_votes:
            self.device_votes = votes
            self._recalculate()

    def _count_newcomer(self) -> None:
        risen = self._risen(self.own.expected, self.newcomer)
        self._log.info(
            f"{self._name_of(self.newcomer)} has joined for the first time: expected votes "
            f"{self.own.expected} -> {risen}"
        )
        self.barrier += risen - self.own.expected
        self.own.expected, self.newcomer = risen, 0

    def _risen(self, expected: int, newcomer: NodeId) -> int:
        """Expected votes with the newcomer counted; not above what is configured, had it been counted already."""
        if self.options.expected_votes:
            return expected
        wanted = expected + self.options.votes.get(newcomer, 0)
        return max(expected, min(wanted, configured_expected(self.options, 0)))

    def _stop_waiting(self, why: str) -> None:
        self.waiting = False
        self._log.info(f"no longer waiting for all nodes: {why}")

    def _own_flags(self) -> Flag:
        said = ((self.quorate, Flag.QUORATE), (self.waiting, Flag.WAITING), (self._first, Flag.FIRST))
        return Flag(sum(flag for is_set, flag in said if is_set)) | self.device.flags


def configured_expected(options: QuorumOptions, newcomer: NodeId) -> int:
    """Expected votes by configuration, without the votes of a node that has not joined yet."""
    if options.expected_votes:
        return options.expected_votes
    return options.configured_expected - options.votes.get(newcomer, 0)


def live(old: QuorumOptions, new: QuorumOptions, waits_for_all: bool) -> QuorumOptions:
    """`new` in the keys that may change while running, `old` in those read at start."""
    return replace(
        new,
        wait_for_all=waits_for_all,
        last_man_standing=old.last_man_standing,
        last_man_standing_window=old.last_man_standing_window,
        auto_tie_breaker=old.auto_tie_breaker,
        allow_downscale=old.allow_downscale,
        expected_votes_tracking=old.expected_votes_tracking,
    )
