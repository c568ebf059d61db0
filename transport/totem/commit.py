"""Commit: the token that goes round the ring to be twice.

In the first round each member writes the state of its old ring and from then on takes no more of its messages but
through recovery; in the second it reads all entries and goes to recovery. A commit token is resent until there is
a sign that it went on (facts: totem.md section 8.1).
"""

from __future__ import annotations

from transport.ids import NodeId, RingId
from transport.totem.context import Context
from transport.totem.joins import CommitToken, Entry
from transport.totem.stats import Send
from transport.totem.views import Views


class Commit:
    """The phase: our entry is on the commit token, the others' are not all known yet."""

    __slots__ = (
        "_ctx",
        "frame",
        "incarnations",
        "lost_at",
        "members",
        "own",
        "resend_at",
        "ring_id",
        "successor",
        "token",
    )

    def __init__(self, ctx: Context, token: CommitToken, own: Entry, now: float) -> None:
        self._ctx = ctx
        self.token = token
        self.ring_id: RingId = token.ring_id
        self.members = token.members
        self.incarnations = {entry.node: entry.incarnation for entry in token.entries}
        index = self.members.index(ctx.me)
        self.successor = self.members[(index + 1) % len(self.members)]
        token.entries[index] = self.own = own
        self.frame = b""
        self.lost_at = now + ctx.config.token
        self.resend_at = now

    def forward(self, now: float) -> None:
        """Pass the token on."""
        self.token.hop += 1
        self.frame = self.token.encode()
        self.resend_at = now + self._ctx.config.token_retransmit
        self.lost_at = now + self._ctx.config.token
        self._ctx.out.append(Send((self.successor,), self.frame, "commit"))

    def resend(self, now: float) -> None:
        self._ctx.out.append(Send((self.successor,), self.frame, "commit", redundant=True))
        self.resend_at = now + self._ctx.config.token_retransmit

    def full_round(self, token: CommitToken) -> bool:
        """Is this our attempt's token on its second round, with all entries written?"""
        index = self.members.index(self._ctx.me)
        return (
            token.ring_id == self.ring_id
            and token.members == self.members
            and token.hop == index + len(self.members)
            and all(entry.filled for entry in token.entries)
            and token.entries[index] == self.own
        )


def issue(ctx: Context, views: Views, clique: tuple[NodeId, ...], seq: int) -> CommitToken:
    """The commit token of a ring of `clique`: what each member must be is written on it."""
    entries = []
    for node in clique:
        offer = views.offers.get(node)
        entries.append(Entry(node, views.incarnation(node), offer.stamp if offer is not None else 0))
    ctx.stats.commits += 1
    return CommitToken(RingId(seq, ctx.me, ctx.incarnation), 0, entries)


def fits(token: CommitToken, me: NodeId, clique: tuple[NodeId, ...], views: Views) -> bool:
    """Is this, in its first round, the ring we offer to form: these members in these incarnations?"""
    return (
        token.members == clique
        and token.hop == token.members.index(me)
        and all(views.incarnation(entry.node) == entry.incarnation for entry in token.entries)
    )
