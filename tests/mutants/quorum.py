"""Mutants of votequorum and its lease: Q1 to Q4."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

VOTEQUORUM = "quorum/votequorum.py"
ELECTORATE = "quorum/electorate.py"
VOTES = "quorum/votes.py"
LEASE = "quorum/lease.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "lease-kept-after-a-pause",
        VOTEQUORUM,
        "        return self._told.quorate and now < self.lease_until(now)\n",
        "        return self._told.quorate\n",
        "Q4",
        "A process that was stopped answers by the verdict it told before, without looking at its lease.",
        also=(
            (
                "clusterd/node.py",
                '        """The verdict, judged now."""\n        self._check_lease(now)\n',
                '        """The verdict, judged now."""\n',
            ),
        ),
    ),
    Mutant(
        "lease-longer-than-exclusion",
        LEASE,
        "SHARE = 0.8\n",
        "SHARE = 1.6\n",
        "Q4",
        "A yes lasts longer than it takes the others to go on without this node.",
    ),
    Mutant(
        "lease-by-the-newest-beat",
        LEASE,
        "            votes += self.others[peer]\n            if votes >= self.needed:\n",
        "            votes += self.others[peer]\n            if votes:\n",
        "Q4",
        "One member that answers keeps the verdict alive, though more are needed for it.",
    ),
    Mutant(
        "half-is-enough",
        VOTES,
        "    needed = max(max(expected, total) // 2 + 1, floor)\n",
        "    needed = max((max(expected, total) + 1) // 2, floor)\n",
        "Q2",
        "Half of an even number of votes is quorate.",
        within=60,
    ),
    Mutant(
        "votes-of-a-leaver-kept",
        ELECTORATE,
        "                self.rows[node].state = State.DEAD\n",
        "                pass\n",
        "Q2",
        "The votes of nodes that are gone are counted on.",
        harness="votes",
    ),
    Mutant(
        "expected-votes-follow-a-leave",
        ELECTORATE,
        "        self.own.expected = max(self.own.expected, votes)\n",
        "        self.own.expected = votes\n",
        "Q2",
        "Expected votes go down with the members that go.",
        harness="votes",
    ),
    Mutant(
        "wait-for-all-forgotten",
        ELECTORATE,
        "        self.waiting = options.waits_for_all or forgot\n",
        "        self.waiting = forgot\n",
        "Q2",
        "A node that starts does not wait for all, though it is configured to.",
        harness="votes",
    ),
    Mutant(
        "two-node-does-not-wait",
        "quorum/options.py",
        "        return self.two_node if self.wait_for_all is None else self.wait_for_all\n",
        "        return bool(self.wait_for_all)\n",
        "Q2",
        "two_node alone does not imply wait_for_all.",
        harness="votes",
    ),
    Mutant(
        "tie-broken-for-both",
        VOTES,
        "        return decider if decider in members else 0\n",
        "        return decider\n",
        "Q2",
        "A tie is broken for the half without the node that decides, too.",
        harness="votes",
    ),
    Mutant(
        "tie-broken-by-the-next-listed",
        VOTES,
        "        if node in previous:\n            return 0\n",
        "",
        "Q2",
        "Of a list of tie breakers the next one decides for the half that has lost the first.",
        harness="votes",
    ),
    Mutant(
        "last-man-without-quorum",
        ELECTORATE,
        "        if self.quorate and self.last_man_standing:\n            voters",
        "        if self.last_man_standing:\n            voters",
        "Q2",
        "last_man_standing lowers expected votes in a component that is not quorate.",
        harness="votes",
    ),
    Mutant(
        "threshold-goes-down",
        ELECTORATE,
        "            floor=0 if decrease else self.quorum,\n",
        "            floor=0,\n",
        "Q2",
        "The threshold goes down without anybody having asked for it.",
        harness="votes",
    ),
    Mutant(
        "newcomer-let-in-uncounted",
        ELECTORATE,
        "        if self.newcomer in self.members or "
        "(not (behind or ahead or self.quorate) and self._joined_meanwhile(known)):\n",
        "        if False:\n",
        "Q2",
        "A node that was added votes, and is not expected to: two of three and one with the new one are both quorate.",
        harness="story:test_a_newcomer_joins_the_minority_first",
    ),
    Mutant(
        "shortest-exclusion-not-agreed",
        "clusterd/reconfigure.py",
        "        return min([*told, self.exclusion])\n",
        "        return self.exclusion\n",
        "Q4",
        "The lease is measured by the node's own T_excl, not by the shortest of all members'.",
        harness="story:test_a_node_that_cannot_take_a_shorter_token",
    ),
    Mutant(
        "device-vote-kept",
        VOTEQUORUM,
        "        device.cast = False  # the arbiter voted for the old ring: it is asked again\n",
        "",
        "Q2",
        "The vote of the device is taken along into the next ring, though the arbiter may give it to another one.",
        where=lambda plan: plan.settings.quorum.device,
    ),
    Mutant(
        "device-vote-outlives-its-lease",
        VOTEQUORUM,
        '            self._timers.set("device", '
        "valid_until if valid_until is not None else now + e.options.device_timeout)\n",
        '            self._timers.set("device", now + 60.0)\n',
        "Q2",
        "The vote of a device that does not answer any more counts on.",
        within=100,
        where=lambda plan: plan.settings.quorum.device,
    ),
    Mutant(
        "any-change-of-votes-in-one-step",
        "quorum/overlap.py",
        "    if must_meet(old, new) or not old.have_majority(members)",
        "    if new.votes or not old.have_majority(members)",
        "Q4",
        "A configuration may follow another though majorities of the two need not have a node in common.",
        harness="story:test_two_removed_at_once_and_a_cut_at_the_last_agreement",
    ),
]
