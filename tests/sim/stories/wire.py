"""What passes between the nodes of a story, told by what is inside, and dropped when the story says so.

A ring datagram is looked at where the receiver has opened it and joined its fragments, just before its ring acts on
it: a message dropped here is one that the network lost, while the product stays what it is. Multicasts are dropped for
chosen receivers only; whatever is sent again is another message and passes, unless the rule says so.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from clusterd.node import Node
from tests.sim.clock import Clock
from transport.ids import NodeId
from transport.totem.messages import COMMIT, ENCAPSULATED, JOIN, MCAST, TOKEN, WANT, Token, mcast_head, mcast_sender

KINDS = {TOKEN: "token", MCAST: "multicast", JOIN: "join", COMMIT: "commit", WANT: "want"}
PROGRESS, RECOVERY = "progress", "recovery"
_HOP = slice(16, 20)  # of a commit token: how many hand-overs it has had


@dataclass(frozen=True, slots=True)
class Message:
    """One ring message at one receiver.

    kind: token, commit, join, want, multicast, recovery (a multicast that carries one of an old ring), progress.
    number: a multicast's seq, a token's token_seq, a commit token's hop; 0 for the others.
    sender: whose datagram it was. author: who numbered it, another one for a message sent again.
    """

    kind: str
    sender: NodeId
    receiver: NodeId
    author: NodeId
    number: int

    def __str__(self) -> str:
        again = f" (of {self.author})" if self.author != self.sender else ""
        return f"{self.kind} {self.number or ''} from {self.sender}{again} to {self.receiver}".replace("  ", " ")


@dataclass(slots=True)
class Rule:
    """Drop what `matches`, `left` times (None: always); `dropped`: what it took."""

    matches: Callable[[Message], bool]
    left: int | None
    dropped: list[Message] = field(default_factory=list)


class Wire:
    """hear: called with every message before it is judged by the rules; one that gives False drops it."""

    def __init__(self, clock: Clock, say: Callable[[str], None]) -> None:
        self._clock = clock
        self._say = say
        self.rules: list[Rule] = []
        self.hear: list[Callable[[Message], bool]] = []

    def drop(self, matches: Callable[[Message], bool], times: int | None = 1) -> Rule:
        """Drop the next `times` messages that match."""
        rule = Rule(matches, times)
        self.rules.append(rule)
        return rule

    def calm(self) -> None:
        """Nothing is dropped any more."""
        self.rules.clear()
        self.hear.clear()

    def tap(self, node: NodeId, running: Node) -> None:
        """A process starts: look at all that its ring is given from now on."""
        srp = running.endpoint.srp
        receive, progress = srp.receive, srp.receive_progress

        def on_frame(sender: NodeId, frame: bytes, now: float) -> None:
            if self._passes(described(sender, node, frame)):
                receive(sender, frame, now)

        def on_progress(sender: NodeId, payload: bytes, now: float) -> None:
            if self._passes(Message(PROGRESS, sender, node, sender, 0)):
                progress(sender, payload, now)

        # Only the simulator stands between the two; the product has no need of a hook here.
        setattr(srp, "receive", on_frame)  # noqa: B010
        setattr(srp, "receive_progress", on_progress)  # noqa: B010

    def _passes(self, message: Message) -> bool:
        for hear in self.hear:
            if not hear(message):
                self._say(f"lost: {message}")
                return False
        for rule in self.rules:
            if rule.left != 0 and rule.matches(message):
                rule.dropped.append(message)
                if rule.left is not None:
                    rule.left -= 1
                self._say(f"lost: {message}")
                return False
        return True


def described(sender: NodeId, receiver: NodeId, frame: bytes) -> Message:
    """An authentic frame of our own nodes."""
    kind = KINDS[frame[0]]
    author, number = sender, 0
    if kind == "multicast":
        flags, _, _, number = mcast_head(frame)
        author = mcast_sender(frame)
        kind = RECOVERY if flags & ENCAPSULATED else kind
    elif kind == "token":
        number = Token.decode(frame).token_seq
    elif kind == "commit":
        number = int.from_bytes(frame[_HOP], "big")
    return Message(kind, sender, receiver, author, number)
