"""Mutants of the store: S1 to S6, Q5, and watches."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

PRIMARY = "cfs/primary.py"
STORE = "cfs/store.py"
REPLICA = "cfs/replica.py"
READINESS = "cfs/readiness.py"
EPOCHS = "cfs/epochs.py"
STATE = "cfs/state.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "late-claim-of-an-ended-epoch",
        REPLICA,
        "        if self._closed or not primary.opened:\n            return\n        moved = False\n",
        "        if not primary.opened:\n            return\n        moved = False\n",
        "S1",
        "What members claimed in a configuration that ended still commits a write of it.",
        harness="test:cfs/test_late_claims.py",
        also=(
            (
                REPLICA,
                "        if not self._closed:\n            if not self._reported and",
                "        if not self._closed or self._primary.opened:\n            if not self._reported and",
            ),
        ),
    ),
    Mutant(
        "learners-count",
        PRIMARY,
        "        held += data_set.votes.get(node, 0)\n",
        "        held += data_set.votes.get(node, 1)\n",
        "S1",
        "A write counts as durable on a node that is not in the data set yet.",
        within=60,
        harness="store:members",
    ),
    Mutant(
        "visible-before-own-disk",
        STORE,
        "        upto = min(self.committed, self.journal.on_disk)\n",
        "        upto = self.committed\n",
        ("S1", "S2"),
        "The proposer acknowledges when a majority has the write, though its own disk has not.",
        also=((STORE, "        if start < upto:\n", "        if start < upto <= self.log.end.index:\n"),),
    ),
    Mutant(
        "claims-what-is-not-written",
        READINESS,
        "        primary, on_disk = self._primary, self._store.journal.on_disk\n",
        "        primary, on_disk = self._primary, self._store.log.end.index\n",
        ("S1", "S6"),
        "A member claims records that it has in memory as if they were on its disk.",
    ),
    Mutant(
        "outcomes-forgotten-early",
        STATE,
        '[1:9], "big") <= index - self._window:\n',
        '[1:9], "big") <= index - 8:\n',
        ("S1", "S3"),
        "Outcomes are forgotten after eight records: a retry that comes later is done again.",
        harness="store:window",
    ),
    Mutant(
        "leader-by-index",
        EPOCHS,
        "        return (standing.era, majority, standing.last, good[node].disk_ok, -node)\n",
        "        return (standing.era, (NO_RING, standing.last[1]), standing.last, good[node].disk_ok, -node)\n",
        ("S1", "Q5", "L1", "S4", "S5"),
        "The longest log leads a merge, not the one of the newest majority.",
        harness="test:sim/stories/test_splits.py::test_the_leader_of_a_merge_has_the_older_state",
    ),
    Mutant(
        "narrow-beats-majority",
        EPOCHS,
        "        return (standing.era, majority, standing.last, good[node].disk_ok, -node)\n",
        "        return (standing.era, NO_MARK, standing.last, good[node].disk_ok, -node)\n",
        ("S1", "Q5", "L1", "S4", "S5"),
        "The newest epoch leads a merge, also a narrow one against a majority's.",
        within=30,
        harness="store:narrow",
    ),
    Mutant(
        "old-tree-shown-after-restart",
        STORE,
        "        self._unresolved = self.log.end.index if self.log.end.index > self.committed else 0\n",
        "        self._unresolved = 0\n",
        "S2",
        "After a restart reads are answered before everything shown earlier is shown again.",
        within=60,
        harness="store:majority",
    ),
]
