"""Mutants of the store: S1 to S6, Q5, and watches."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

PRIMARY = "cfs/primary.py"
STORE = "cfs/store.py"
REPLICA = "cfs/replica.py"
CONFIGURATION = "cfs/configuration.py"
READINESS = "cfs/readiness.py"
EPOCHS = "cfs/epochs.py"
STATE = "cfs/state.py"

MUTANTS: list[Mutant] = [
    Mutant(
        "late-claim-of-an-ended-epoch",
        REPLICA,
        "        if self._current.closed or not primary.opened:\n            return\n        moved = False\n",
        "        if not primary.opened:\n            return\n        moved = False\n",
        "S1",
        "What members claimed in a configuration that ended still commits a write of it.",
        harness="test:cfs/test_late_claims.py",
        also=(
            (
                REPLICA,
                "        if not current.closed:\n            current.settle(self._now)\n",
                "        if not current.closed or self._primary.opened:\n            current.settle(self._now)\n",
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
        "S1",
        "The proposer acknowledges when a majority has the write, though its own disk has not.",
        also=((STORE, "        if start < upto:\n", "        if start < upto <= self.log.end.index:\n"),),
    ),
    Mutant(
        "claims-what-is-not-written",
        READINESS,
        "        primary, on_disk = self._primary, self._store.journal.on_disk\n",
        "        primary, on_disk = self._primary, self._store.log.end.index\n",
        "S6",
        "A member claims records that it has in memory as if they were on its disk.",
    ),
    Mutant(
        "claims-before-it-is-whole",
        READINESS,
        "        if not self._catchup.whole or not primary.opened or self._store.journal.bad(now):\n",
        "        if not primary.opened or self._store.journal.bad(now):\n",
        "S1",
        "A member that is catching up claims what its own, other log holds.",
        also=(
            (READINESS, "        if on_disk < max(self._from, primary.first_index):\n", "        if on_disk < 1:\n"),
        ),
        harness="store:majority",
    ),
    Mutant(
        "ready-before-the-state",
        READINESS,
        "        if self.announced or not quorate or journal.on_disk < self._from:\n",
        "        if self.announced or not quorate:\n",
        "S1",
        "A member says READY before the leader's log is on its disk.",
        harness="store:majority",
    ),
    Mutant(
        "learner-promoted-early",
        "cfs/dataset.py",
        "for node in sorted(set(nodes) - set(votes)) if node in primary.ready]\n",
        "for node in sorted(set(nodes) - set(votes)) if node in primary.members]\n",
        "S1",
        "A new node has data votes before its disk holds the state.",
        harness="store:members",
    ),
    Mutant(
        "data-set-by-two",
        "cfs/dataset.py",
        "    found = [{**votes, node: nodes[node]} for node in sorted(set(nodes) - set(votes)) "
        "if node in primary.ready]\n",
        "    found = [{**votes, **{n: nodes[n] for n in sorted(set(nodes) - set(votes)) if n in primary.ready}}]\n"
        "    found = found if found[0] != votes else []\n",
        "S1",
        "Who holds data changes by as many nodes at once as have come.",
        also=(("cfs/dataset.py", "and len(changed) == 1 and any", "and changed and any"),),
        harness="store:members",
    ),
    Mutant(
        "failed-fsync-is-success",
        "cfs/journal.py",
        "        if error is not None:\n            self.failed = self.failed or error\n",
        "        if error is not None and not isinstance(request, AppendLog):\n"
        "            self.failed = self.failed or error\n",
        "S1",
        "An append that the disk refused counts as written.",
        harness="store:disks",
    ),
    Mutant(
        "duplicate-applied-twice",
        STATE,
        "        if known is not None:\n            return Applied(Result.decode(known), (), repeated=True)\n",
        "",
        "S3",
        "An operation that stands in the log twice changes the tree twice.",
        harness="store:window",
    ),
    Mutant(
        "outcomes-forgotten-early",
        STATE,
        '[1:9], "big") <= index - self._window:\n',
        '[1:9], "big") <= index - 8:\n',
        "S3",
        "Outcomes are forgotten after eight records: a retry that comes later is done again.",
        harness="store:window",
    ),
    Mutant(
        "tail-dropped-without-saving",
        STORE,
        "            aside = writes > 0\n",
        "            aside = False\n",
        "S5",
        "Writes that a merge discards are not set aside first.",
        within=60,
    ),
    Mutant(
        "leader-by-index",
        EPOCHS,
        "        return (standing.era, majority, standing.last, good[node].disk_ok, -node)\n",
        "        return (standing.era, (NO_RING, standing.last[1]), standing.last, good[node].disk_ok, -node)\n",
        "S1",
        "The longest log leads a merge, not the one of the newest majority.",
        harness="test:sim/stories/test_splits.py::test_the_leader_of_a_merge_has_the_older_state",
    ),
    Mutant(
        "narrow-beats-majority",
        EPOCHS,
        "        return (standing.era, majority, standing.last, good[node].disk_ok, -node)\n",
        "        return (standing.era, NO_MARK, standing.last, good[node].disk_ok, -node)\n",
        "L1",
        "The newest epoch leads a merge, also a narrow one against a majority's.",
        within=30,
        harness="store:narrow",
    ),
    Mutant(
        "chain-not-checked",
        "cfs/records.py",
        "        return self.index == previous.index + 1 and self.chain == chain_of(\n"
        "            previous.chain, self.index, self.epoch, self.kind, self.body\n"
        "        )\n",
        "        return self.index == previous.index + 1\n",
        "S4",
        "A log record whose bits flipped on disk is read as if it were good.",
        within=60,
        harness="store:disks",
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
    Mutant(
        "deletes-left-out-of-a-transfer",
        "cfs/transfer.py",
        "        drop = sorted(have)\n",
        "        drop: list[bytes] = []\n",
        "S4",
        "A member that catches up keeps entries that were deleted meanwhile, and its digest is not compared.",
        also=((STORE, "        if state.digest() != received.digest:\n", "        if False:\n"),),
        harness="store:episodes",
    ),
    Mutant(
        "rolled-back-disk-trusted",
        STORE,
        "        if image.health is StoreHealth.OK:\n",
        "        if image.health in (StoreHealth.OK, StoreHealth.ROLLED_BACK):\n",
        "S4",
        "A store older than its own marker says counts as good.",
        harness="store:episodes",
    ),
    Mutant(
        "rolled-back-copy-trusted",
        EPOCHS,
        "    behind = _drop_rolled_back(good)\n",
        "    behind: frozenset[NodeId] = frozenset()\n",
        "S4",
        "What the others know that a member once had on disk is not asked when its store counts.",
        harness="store:episodes",
    ),
    Mutant(
        "barrier-answered-at-once",
        REPLICA,
        "        self._waiting.barriers.add(token, now)\n",
        "        self._events.append(BarrierDone(token))\n",
        "S2",
        "A linearizable read is answered from this node's copy without asking anybody.",
        also=((REPLICA, "from cfs.status import (\n", "from cfs.status import (\n    BarrierDone,\n"),),
        within=60,
        harness="store:majority",
    ),
    Mutant(
        "logged-after-the-transitional",
        REPLICA,
        "        if transitional or current.closed:\n",
        "        if current.closed and not transitional:\n",
        "S2",
        "What is delivered behind the transitional configuration counts as if it came before it.",
        also=(
            (
                REPLICA,
                "        if not change.regular:\n            self._current.closed = True\n",
                "        if not change.regular:\n            pass\n",
            ),
        ),
        harness="test:cfs/test_ended_rings.py",
    ),
    Mutant(
        "a-primary-without-quorum",
        READINESS,
        "        if self.announced or not quorate or journal.on_disk < self._from:\n",
        "        if self.announced or journal.on_disk < self._from:\n",
        "Q5",
        "A member says READY though it is not quorate: a minority opens a narrow primary of its own.",
        also=(
            (CONFIGURATION, "not self.primary.opened or not self.quorate:\n", "not self.primary.opened:\n"),
            (
                "cfs/condition.py",
                '        if not self.quorate:\n            return f"this node is not quorate: {self.verdict}"\n',
                "",
            ),
        ),
        harness="store:majority",
    ),
    Mutant(
        "refused-but-sent",
        REPLICA,
        "        if refusal is not None:\n            raise refusal\n",
        "        if refusal is not None:\n"
        "            self._current._send(wire.Propose(operation.encode()))\n"
        "            raise refusal\n",
        "S3",
        "A write is refused, and proposed nevertheless.",
    ),
    Mutant(
        "watch-skips-one",
        "cfs/history.py",
        "        count = max(0, self._newest - revision)\n",
        "        count = max(0, self._newest - revision - (len(self._changes) > 40))\n",
        "watch",
        "A watcher that was away is not told the first change after what it knows.",
    ),
    Mutant(
        "device-counts-for-durability",
        PRIMARY,
        "        if 2 * held > whole:  # `enough`, counted up: asked after every message\n",
        "        if 2 * (held + 1) > whole + 1:  # and one vote of the device\n",
        "S1",
        "The vote of the quorum device counts as if it held the data.",
        where=lambda plan: plan.settings.quorum.device,
    ),
    Mutant(
        "label-before-the-state",
        CONFIGURATION,
        "        else:\n            self.catchup.keep(kind, body)\n",
        "        else:\n"
        "            store = self._store\n"
        "            if kind is RecordKind.EPOCH and store.log.epochs and self.catchup.lacks_all:\n"
        "                early = replace(self.primary.record(), first_index=store.log.end.index + 1).encode()\n"
        "                store.append(LogRecord.after(store.log.end, self.primary.ring, kind, early))\n"
        "            self.catchup.keep(kind, body)\n",
        "S1",
        "A member writes the record of the new epoch before it has the leader's state.",
        harness="test:cfs/test_opening.py::test_power_lost_while_one_of_three_has_not_the_state_yet",
        also=(
            (CONFIGURATION, "from math import inf\n", "from dataclasses import replace\nfrom math import inf\n"),
            (
                "cfs/catchup.py",
                "    @property\n    def excluded(self)",
                "    @property\n    def lacks_all(self) -> bool:\n"
                "        return self._work is None and not self.complete\n\n"
                "    @property\n    def excluded(self)",
            ),
        ),
    ),
    Mutant(
        "condition-judged-at-proposal",
        REPLICA,
        "        pending = self._waiting.propose(operation, now)\n",
        "        entry = self.state.find(operation.path)\n"
        "        if operation.condition is not None and operation.condition == (entry.revision if entry else 0):\n"
        "            operation.condition = None\n"
        "        pending = self._waiting.propose(operation, now)\n",
        "S2",
        "A compare-and-set is compared where it is proposed, not at its place in the order.",
        within=60,
    ),
    Mutant(
        "writes-behind-a-gap-logged",
        REPLICA,
        "        if transitional or current.closed:\n",
        "        if (transitional or current.closed) and not payload.startswith(current.propose_head):\n",
        "S1",
        "Writes behind the transitional configuration are logged: the logs of one epoch are not one any more.",
        harness="story:test_what_is_delivered_behind_a_gap_is_not_logged",
    ),
    Mutant(
        "ready-without-quorum",
        READINESS,
        "        if self.announced or not quorate or journal.on_disk < self._from:\n",
        "        if self.announced or journal.on_disk < self._from:\n",
        "Q5",
        "A member says READY though it is not quorate: a minority opens a narrow primary, in which nobody writes.",
        harness="story:test_all_are_alone_and_the_last_has_the_older_state",
    ),
    Mutant(
        "move-leaves-the-source",
        "cfs/apply.py",
        "        tree.remove(path)\n        self._make(operation, to, ",
        "        self._make(operation, to, ",
        "S2",
        "What was moved is also where it was before, on all nodes alike.",
    ),
    Mutant(
        "set-of-two-by-one",
        PRIMARY,
        "        return min(claims.get(node, 0) for node in voters)\n",
        "        return max(claims.get(node, 0) for node in voters)\n",
        "S1",
        "Of a data set of two, both present, one disk is enough.",
        nodes=2,
    ),
]
