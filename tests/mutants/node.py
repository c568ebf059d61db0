"""Mutants of the whole node, of changes of the configuration and of key rotations: Q3, X2, and that all agree."""

from __future__ import annotations

from typing import Any

from tests.mutants.mutant import Mutant

NODE = "clusterd/node.py"
RECONFIGURE = "clusterd/reconfigure.py"
GROUPS = ("G1", "G2", "G3", "G4", "G5", "G6")  # tests/sim/checkers/groups.py


def only_one_refuses(plan: Any) -> bool:
    """An administrator asks for what another member cannot take."""
    return len(plan.nodes) > 2 and any(action.kind == "wrong-elsewhere" for action in plan.actions)


MUTANTS: list[Mutant] = [
    Mutant(
        "messages-before-the-barrier",
        NODE,
        "        elif self.sync.done:\n            self._route(delivery, now)\n",
        "        elif channel:\n            self._route(delivery, now)\n",
        ("Q3", *GROUPS, "no exception"),
        "Messages of a configuration are given out before its verdict.",
        several="Each of what groups are promised rests on the barrier.",
    ),
    Mutant(
        "barrier-without-the-last",
        "transport/sync.py",
        "        if len(self._received) < len(self._members):\n",
        "        if len(self._received) < max(1, len(self._members) - 1):\n",
        ("Q1", "Q2", "Q3", "L1", *GROUPS),
        "The barrier is passed before the last member said its votes.",
        several="Whoever was not waited for may be missing in the votes, in the groups, or in the agreement to go on.",
        also=(
            (
                "transport/sync.py",
                "for m in self._members if name in self._received[m]}",
                "for m in self._members if name in self._received.get(m, {})}",
            ),
        ),
    ),
    Mutant(
        "change-by-a-majority",
        RECONFIGURE,
        "        if len(change.agreed) == len(change.members):\n",
        "        if 2 * len(change.agreed) > len(change.members):\n",
        "A3",
        "A changed configuration is in force when most members agreed, though one may still say no.",
        within=60,
        where=only_one_refuses,
    ),
    Mutant(
        "change-at-its-proposal",
        RECONFIGURE,
        "        self._change = change\n        self._answer(change)\n",
        "        self._change = change\n"
        "        self.events.append(Apply(kind, body, sender))\n"
        "        self._answer(change)\n",
        "A3",
        "A changed configuration is in force when it is proposed.",
        where=only_one_refuses,
        also=(
            (
                RECONFIGURE,
                "                self.events.append(Apply(change.kind, change.body, change.initiator))\n",
                "                pass\n",
            ),
        ),
    ),
    Mutant(
        "no-by-the-last-ignored",
        RECONFIGURE,
        "        if reasons:\n"
        "            self._change = None\n"
        "            self._forget(change, self._doubts.refused(change.body))\n"
        '            self._conclude(change, [f"{self._name_of(sender)}: {reason}" for reason in reasons])\n'
        "            self._finish()\n"
        "            return\n",
        "",
        "A3",
        "A member's no counts as a yes.",
        where=only_one_refuses,
    ),
    Mutant(
        "agreement-forgotten",
        RECONFIGURE,
        "        self._promises.add(promise, self.version)\n",
        "",
        "L1",
        "What a member agreed to is on its disk, and is not known any more after a change of the membership.",
        harness="story:test_a_removal_that_one_alone_heard",
    ),
    Mutant(
        "old-cluster-key-thrown-away",
        "transport/keyring.py",
        "            self.retire(generation, key.secret)\n",
        "            pass\n",
        "L1",
        "An old cluster key is not even kept for a member that was away during the rotation: it never comes back.",
        harness="story:test_a_removed_node_powers_on_again",
    ),
    Mutant(
        "removal-ends-no-session",
        "clusterd/configuring.py",
        "            self._endpoint.security.remove(node, date, initiator, now)\n",
        "",
        "X2",
        "Who was removed from the configuration is not told to be removed by the layer that holds the keys.",
        within=60,
        where=lambda plan: any("remove" in action.kind for action in plan.actions),
    ),
    Mutant(
        "one-teller-is-believed",
        "clusterd/past.py",
        "        if not suffice(rest):\n",
        "        if rest:\n",
        "L1",
        "One member that says so is believed when it tells a node that its machine was put back.",
        harness="test:clusterd/test_past.py",
    ),
    Mutant(
        "past-not-told",
        "transport/link/memory.py",
        "            return word > self.given\n",
        "            return False\n",
        "Q4",
        "A process that was put back with its memory is not told by the others that they heard more of it.",
        harness="test:clusterd/test_past.py",
    ),
    Mutant(
        "only-who-asked-changes",
        RECONFIGURE,
        "            if change.kind is not Kind.CONFIG or change.version > self.version:\n",
        "            if change.kind is not Kind.CONFIG or change.initiator == self._me:\n",
        "A4",
        "What all agreed to comes into force where it was asked for, and nowhere else.",
    ),
    Mutant(
        "the-group-is-not-asked-for",
        "clusterd/control/credentials.py",
        "        return self.owner(peer) or (self.group is not None and (peer.gid == self.group"
        " or self.group in peer.groups))\n",
        "        return self.owner(peer) or self.group is None or peer.gid == self.group"
        " or self.group in peer.groups\n",
        "X3",
        "Where no group is configured everybody may change things.",
        harness="test:clusterd/control/test_credentials.py",
    ),
]
