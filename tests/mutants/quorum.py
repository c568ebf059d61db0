"""Mutants of votequorum and its lease: Q1 to Q4."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

VOTEQUORUM = "quorum/votequorum.py"
ELECTORATE = "quorum/electorate.py"
VOTES = "quorum/votes.py"
LEASE = "quorum/lease.py"

MUTANTS = [
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
        ("Q1", "Q2"),
        "Half of an even number of votes is quorate.",
        within=60,
    ),
    Mutant(
        "votes-of-a-leaver-kept",
        ELECTORATE,
        "                self.rows[node].state = State.DEAD\n",
        "                pass\n",
        ("Q1", "Q2"),
        "The votes of nodes that are gone are counted on.",
    ),
    Mutant(
        "expected-votes-follow-a-leave",
        ELECTORATE,
        "        self.own.expected = max(self.own.expected, votes)\n",
        "        self.own.expected = votes\n",
        ("Q1", "Q2"),
        "Expected votes go down with the members that go.",
    ),
]
