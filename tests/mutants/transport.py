"""Mutants of security, links and ring: O1 to O6, X1, X2, L, and the ring's half of Q4."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RING = "transport/totem/ring.py"
RECOVERY = "transport/totem/recovery.py"
EXCLUSION = "transport/totem/exclusion.py"
MEMBERSHIP = "transport/totem/membership.py"
TRANSITIONAL = (
    "            events.append(ConfigurationChange(False, old.ring_id, members, (), left, members, incarnations))\n"
)
REST = "            self._deliver_rest(old)\n"

MUTANTS: list[Mutant] = [
    Mutant(
        "release-on-own-aru",
        RING,
        "        upto = self.stable if self.stable < self.delivered else self.delivered\n",
        "        upto = self.delivered\n",
        ("E7", "E13", "L1", "no exception"),
        "A message is let go as soon as this member has delivered it, though others may still ask for it.",
        harness="ring",
        also=(
            (
                RING,
                "        assert window.released <= self.stable <= window.aru",
                "        assert self.stable <= window.aru",
            ),
        ),
    ),
    Mutant(
        "safe-one-rotation-early",
        RECOVERY,
        "    if frame[1] & SAFE and seq > ring.stable:\n",
        "    if frame[1] & SAFE and seq > ring.window.aru:\n",
        ("E13", "E14"),
        "A safe message is delivered when it is here, one rotation before it is known to be everywhere.",
        harness="ring",
    ),
    Mutant(
        "token-accepted-twice",
        RING,
        "            or token.token_seq <= self.token_seq\n",
        "",
        ("E1", "E2", "E3", "E7", "E9", "L1", "no exception"),
        "A token that was resent, or came over another link, is taken again: there are two.",
        harness="ring",
    ),
    Mutant(
        "token-of-another-turn",
        RING,
        "            or (token.token_seq - 1 - self.index) % len(self.members)  # somebody else's turn\n",
        "",
        ("E1", "E2", "E3", "E7", "E9", "L1", "no exception"),
        "A token copied to a member whose turn it is not is taken: there are two.",
        harness="ring",
    ),
    Mutant(
        "recovery-carries-nothing",
        RECOVERY,
        "        if len(together) > 1:\n",
        "        if len(together) > len(old.members):\n",
        ("E1", "E7", "E9", "E10"),
        "What some members of the old ring have and others lack is not carried over to the new one.",
        harness="ring",
    ),
    Mutant(
        "recovery-drops-what-not-all-hold",
        RECOVERY,
        "            self._queue.extend(seq for seq in range(top + 1, self.old_high + 1)"
        " if window.get(seq) is not None)\n",
        "",
        ("E1", "E7", "E9", "E10"),
        "Messages behind the first gap of the old ring are not carried over by those who have them.",
        harness="ring",
    ),
    Mutant(
        "transitional-after-the-rest",
        RECOVERY,
        TRANSITIONAL + REST,
        REST + TRANSITIONAL,
        ("E5", "E11", "E12", "E13", "E15"),
        "What can no longer be promised to be everywhere is delivered before the transitional configuration.",
        harness="ring",
    ),
    Mutant(
        "over-the-gap-from-anybody",
        RECOVERY,
        "            elif not gap or mcast_sender(frame) in senders:\n",
        "            else:\n",
        ("E1", "E6", "E7", "E8", "E9", "E10"),
        "Behind a gap the messages of members that were lost are delivered too, though what they rest on is missing.",
        harness="ring",
    ),
    Mutant(
        "message-of-old-ring-goes-on",
        "transport/totem/packing.py",
        '        """The ring ended: a message begun on it is sent again from its start."""\n        self._offset = 0\n',
        '        """The ring ended: a message begun on it is sent again from its start."""\n',
        ("E3", "E4", "E7", "E12"),
        "A large message begun on a ring that ended is not sent again from its start.",
        harness="ring",
    ),
    Mutant(
        "piece-of-another-sender",
        "transport/totem/packing.py",
        "                held = self._partial.pop(sender, None) if self._partial else None\n",
        "                held = self._partial.pop(min(self._partial), None) if self._partial else None\n",
        ("E1", "E2", "E3", "E4", "E7", "E12", "no exception"),
        "The pieces of large messages of two senders are joined to one.",
        harness="ring",
    ),
    Mutant(
        "excluded-one-lease-too-early",
        EXCLUSION,
        "            when = max(when, at + exclusion)\n",
        "            when = max(when, at + exclusion / 5)\n",
        "Q4",
        "A ring without a node is installed while that node's verdict still counts as a yes.",
    ),
    Mutant(
        "replay-after-a-restart",
        "transport/exchange.py",
        "                control.encode_sender_key(key.key_id, key.counter, key.key)\n",
        "                control.encode_sender_key(key.key_id, 0, key.key)\n",
        "X1",
        "A sender key is handed over without its counter: who was restarted takes what was recorded before.",
        harness="keys",
    ),
    Mutant(
        "window-half-as-wide",
        "transport/replay.py",
        "        self._bits = bytearray(width >> 2)  # 2 * width bits\n        self._mask = (width >> 2) - 1\n",
        "        self._bits = bytearray(width >> 4)\n        self._mask = (width >> 4) - 1\n",
        "X1",
        "The replay window remembers half of the counters that it lets pass.",
        harness="keys",
    ),
    Mutant(
        "below-the-window-is-fresh",
        "transport/replay.py",
        "            return OLD\n",
        "            return FRESH\n",
        "X1",
        "A counter too old for the replay window to remember is taken.",
        harness="keys",
    ),
    Mutant(
        "counter-begins-anew",
        "transport/sender_keys.py",
        "        self.next = self._make(fresh_after=now)\n        self.switch(now)\n",
        "        self.current.counter = 0\n",
        "X1",
        "After a jump of the time the same key is used with its counter from 0: nonces come twice.",
        harness="keys",
    ),
    Mutant(
        "replayed-handshake-takes-over",
        "transport/peering.py",
        "        self.sessions[session.index] = pair.pending[session.index] = session\n",
        "        self.sessions[session.index] = pair.pending[session.index] = session\n"
        "        self.establish(session, now)\n",
        ("X1", "L1"),
        "The first message of a handshake, which anybody can repeat, already replaces the session in use.",
        harness="keys",
    ),
    Mutant(
        "removed-node-keeps-its-session",
        "transport/peering.py",
        "        pair = self.pairs.pop(peer, None)\n        if pair is None:\n            return []\n",
        "        pair = self.pairs.get(peer)\n        if pair is None:\n            return []\n        return [pair]\n",
        ("X2", "L1"),
        "A removed node's sessions go on.",
        harness="keys",
    ),
    Mutant(
        "removed-node-keeps-the-keys",
        "transport/security.py",
        "        self._own.begin_removal(now)\n",
        "",
        "X2",
        "After a removal the sender keys that the removed node holds stay in use.",
        harness="keys",
    ),
    Mutant(
        "betrayed-keys-taken",
        "transport/security.py",
        "            self._exchange.peer_keys.forget(pair.peer)\n        self._exchange.peer_keys.betray()\n",
        "            pass\n        self._exchange.peer_keys.betray()\n",
        "X2",
        "What a removed node seals under the key it had is still taken.",
        harness="keys",
    ),
]
