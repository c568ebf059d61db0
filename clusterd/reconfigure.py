"""Changing the configuration of a running cluster: all members or none, in one place of the message order.

The initiator multicasts the whole new text (or the name of a new cluster key); each member judges the same bytes
and multicasts its verdict; who is not quorate says no. The place of the last `yes` in the total order is the change:
every member applies it exactly there. One `no` or ten seconds end it without effect, and the initiator is told each
member's reasons. (corosync lets every node read its own file and reports only the initiator's result: facts,
votequorum.md section 12.2.) A configuration that a member agrees to is on its disk before the others hear of it
(promises.py): should the membership change just then, or the process die, it is not forgotten.

A member that was away learns the present configuration at the barrier: the members say their version there, and
the lowest of those that have the configuration in force sends its text. Who puts a removal in force by it, or by an
agreement, says at once which cluster keys the removed node may hold (OUTSIDE); at the barrier all say it again.
There it also shows how a change ended that was cut short (said.py): one of them runs it, and all take it; one of
those who had to agree did not, and it is forgotten; all agreed, and it is proposed again.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from clusterd import said as words
from clusterd.doubts import Doubts
from clusterd.promises import MAX_TEXT, NAME, Promise, Promises
from clusterd.said import Said
from transport.codec import Reader, Writer
from transport.core import Entropy, Log
from transport.errors import Refused, WireError
from transport.events import Persist
from transport.ids import NO_RING, NodeId, RingId

LEAST_EXCLUSION = 0.030
"""Seconds: the shortest a configuration may say (its token). Who tells less tells nothing."""
_DEADLINE = 10.0
_VERSION = 1
_NOT_QUORATE = "it is not quorate any more: the cluster cannot be changed from there"
_PROPOSE, _VERDICT, _ABORT, _INFORM, _OUTSIDE = 1, 2, 3, 4, 5


class Kind(IntEnum):
    """What is changed. CONFIG: body is the text of corosync.conf. KEY: body names a cluster key generation."""

    CONFIG = 1
    KEY = 2


@dataclass(frozen=True, slots=True)
class Apply:
    """Every member has agreed (late: or the cluster runs this already): put it in force now."""

    kind: Kind
    body: bytes
    initiator: NodeId
    late: bool = False


@dataclass(frozen=True, slots=True)
class Concluded:
    """The answer to our own `propose`: no reasons means done. unknown: it may be in force, here or elsewhere."""

    change_id: bytes
    reasons: tuple[str, ...]
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class Outside:
    """A member put a removal in force: who was removed may hold the cluster keys up to this generation."""

    generation: int


@dataclass(frozen=True, slots=True)
class Multicast:
    payload: bytes


@dataclass(slots=True)
class _Change:
    change_id: bytes
    kind: Kind
    body: bytes
    initiator: NodeId
    members: tuple[NodeId, ...]
    agreed: set[NodeId]
    deadline: float
    answered: bool = False
    version: int = 0  # its config_version, once we agree to it
    writing: int = 0  # the receipt of our promise, until it is on disk


Judge = Callable[[Kind, bytes, bool], list[str] | None]
"""Reasons against a change, none at all for agreement, or None: cannot say yet, ask again (`poke`). The last argument:
the cluster runs it already."""
Describe = Callable[[bytes], tuple[int, frozenset[NodeId]]]
"""config_version and nodes of the text that the judge was asked about last, and did not object to."""
ReconfigureEvent = Apply | Concluded | Multicast | Outside | Persist


class Reconfigure:
    """At most one change at a time in the whole cluster.

    True between any two calls: a change under way has the members of the current configuration.
    """

    def __init__(
        self,
        me: NodeId,
        name_of: Callable[[NodeId], str],
        judge: Judge,
        describe: Describe,
        promises: Promises,
        entropy: Entropy,
        log: Log,
    ) -> None:
        self._me = me
        self._name_of = name_of
        self._judge = judge
        self._describe = describe
        self._promises = promises
        self._doubts = Doubts(me, name_of, promises, log)
        self._entropy = entropy
        self._log = log
        self._members: tuple[NodeId, ...] = ()
        self._ring_seq = 0
        self._promising: frozenset[NodeId] = frozenset()  # members that write down what they agree to
        self._receipt = 0
        self._change: _Change | None = None
        self._awaited: tuple[NodeId, int] | None = None  # who is to tell us the version in force, once
        self._finishing: tuple[bytes, Promise] | None = None  # what we proposed again, and under which id
        self._informed_of: tuple[NodeId, int, bytes] | None = None  # a configuration in force not judged yet
        self.events: deque[ReconfigureEvent] = deque()
        self.version = 0
        self.text = b""
        self.was_quorate = False
        self.exclusion = 0.6
        """T_excl in force here, seconds."""
        self.outside = 0
        """The newest cluster key that a removed node may hold, as far as is known here; 0 for none."""
        self.malformed = 0

    def propose(self, kind: Kind, body: bytes, now: float) -> bytes:
        """Start a change; returns its id, and a Concluded event follows. Raises Refused."""
        if len(body) > MAX_TEXT:
            raise Refused(f"configuration of {len(body)} bytes, at most {MAX_TEXT}")
        self.check_free()
        reasons = self._reasons(kind, body)
        if reasons:
            raise Refused("; ".join(reasons))
        return self._ask(kind, body)

    def _ask(self, kind: Kind, body: bytes) -> bytes:
        change_id = self._entropy(16)
        self._multicast(_PROPOSE, Writer().raw(change_id).u8(kind).blob(body).done())
        return change_id

    def check_free(self) -> None:
        """Raises Refused while a change is under way."""
        if self._change is not None:
            raise Refused(f"{self._name_of(self._change.initiator)} is changing the configuration now: try again")

    def configuration(self, members: tuple[NodeId, ...], ring: RingId = NO_RING) -> None:
        """The membership changed: a change under way is over. Here it had no effect; a member that went another way may
        have had the last agreement before it went, and then put it in force."""
        change, self._change = self._change, None
        self._awaited = self._informed_of = None
        self._members, self._ring_seq = members, ring.seq
        self._promising = frozenset()
        self._doubts.begin()
        self._finishing = None
        if change is not None:
            if change.writing:  # nobody has heard that we agree
                self._forget(change)
            text = "the membership changed before all answers were here: not changed here, perhaps on nodes that left"
            self._conclude(change, [text], unknown=True)

    def receive(self, sender: NodeId, payload: bytes, now: float) -> None:
        """A message of the configuration channel at its place in the order."""
        try:
            reader = Reader(payload)
            version, what = reader.u8(), reader.u8()
            if version != _VERSION:
                raise WireError(f"configuration message version {version}")
            if what == _PROPOSE:
                change_id, kind, body = reader.raw(16), Kind(reader.u8()), reader.blob(MAX_TEXT)
                self._proposed(sender, change_id, kind, body, now)
            elif what == _VERDICT:
                change_id = reader.raw(16)
                reasons = [reader.text(1024) for _ in range(min(reader.u8(), 32))]
                self._verdict(sender, change_id, reasons)
            elif what == _ABORT:
                self._aborted(sender, reader.raw(16))
            elif what == _INFORM:
                version, text = reader.u64(), reader.blob(MAX_TEXT)
                if (sender, version) == self._awaited:
                    self._awaited = None
                    self._informed(sender, version, text)
            elif what == _OUTSIDE:
                self.events.append(Outside(reader.u64()))
            else:
                raise WireError(f"configuration message kind {what}")
        except (WireError, ValueError):
            self.malformed += 1

    def poke(self) -> None:
        """Something the judge waited for has arrived."""
        change = self._change
        if change is not None and not change.answered:
            self._answer(change)
        if self._informed_of is not None:
            self._informed(*self._informed_of)

    def verdict(self, quorate: bool) -> None:
        """Of this node, and whether it could act when a change comes or the next barrier does."""
        self.was_quorate = quorate
        if quorate and not self._promises.since:
            self._promises.since = self._ring_seq
            self._write()
        self._finish()

    def saved(self, receipt: int) -> None:
        """The file of a Persist event is on disk."""
        change = self._change
        if change is not None and receipt == change.writing:
            change.writing = 0
            self._say(change, [])

    def least_wanted(self) -> int | None:
        """The lowest version that we would take from one outside; None: we know better, being quorate. But then too
        what we agreed to, if somebody runs it."""
        doubtful = self._doubts.highest(self.version)
        return None if self.was_quorate and not doubtful else max(self.version + 1, doubtful)

    def handed(self, sender: NodeId, version: int, text: bytes) -> None:
        """A configuration came beside the ring, from one that we cannot form a ring with by ours (handover.py)."""
        if not self.was_quorate:
            self._informed(sender, version, text)
        elif self._change is None and self._doubts.about(text, self.version):
            self._log.info(f"{self._name_of(sender)} runs configuration version {version}, which was agreed to here")
            self._ask(Kind.CONFIG, text)  # at one place of the order, like any other

    def tell_outside(self) -> None:
        """Say `outside` to all now: the next barrier may be far off."""
        self._multicast(_OUTSIDE, Writer().u64(self.outside).done())

    def next_event(self) -> ReconfigureEvent | None:
        return self.events.popleft() if self.events else None

    def next_timeout(self) -> float | None:
        return self._change.deadline if self._change is not None else None

    def handle_timeout(self, now: float) -> None:
        change = self._change
        if change is not None and now >= change.deadline:
            change.deadline = now + _DEADLINE
            self._multicast(_ABORT, change.change_id)

    # -- the barrier -----------------------------------------------------------------------------------------

    def sync_state(self) -> bytes:
        digest = hashlib.sha256(self.text).digest()
        promises = self._promises
        return words.encode(
            self.version,
            self.was_quorate,
            digest,
            self.exclusion,
            self.outside,
            promises.since,
            promises.doubtful(self.version),
        )

    def shortest_exclusion(self, blobs: dict[NodeId, bytes]) -> float:
        """The shortest T_excl (seconds) of the members: files may differ, and a verdict must be good with all."""
        told = [said.exclusion for said in self._said(blobs).values() if said.exclusion >= LEAST_EXCLUSION]
        return min([*told, self.exclusion])

    def newest(self, blobs: dict[NodeId, bytes]) -> frozenset[NodeId]:
        """The members that run the version in force."""
        said = self._said(blobs)
        version, _ = words.in_force(said)
        return frozenset(node for node, one in said.items() if one.version == version)

    def ahead(self, blobs: dict[NodeId, bytes]) -> bool:
        """This node runs a newer version than the one in force: it heard of a change that the others did not."""
        return self.version > words.in_force(self._said(blobs))[0]

    def newest_outside(self, blobs: dict[NodeId, bytes]) -> int:
        """The newest cluster key that a removed node may hold, by what all members know; 0 for none."""
        return max([said.outside for said in self._said(blobs).values()], default=0)

    def sync_activate(self, blobs: dict[NodeId, bytes]) -> None:
        """Compare versions; who has the one in force tells who has an older one."""
        said = self._said(blobs)
        if self._me not in said:
            return
        version, holders = words.in_force(said)
        behind = [n for n, s in said.items() if s.version < version]
        self._awaited = (holders[0], version) if self._me in behind else None
        if behind and holders[0] == self._me:
            self._multicast(_INFORM, Writer().u64(version).blob(self.text).done())
        if self._doubts.weigh(said, self.version, self._members):
            self._write()
        self._finish()
        self._promising = frozenset(node for node, one in said.items() if one.promises)
        same = [n for n, s in said.items() if s.version == version]
        if said[self._me].version > version:
            self._log.warning(
                f"this node's configuration has version {self.version}, the cluster runs {version}: "
                "reload it on a member to put it in force"
            )
        elif len({said[n].digest for n in same}) > 1:
            names = ", ".join(self._name_of(n) for n in same)
            self._log.warning(f"configuration version {version} differs between {names}: raise config_version")

    def _finish(self, in_force: int = 0) -> None:
        """Propose again what all had agreed to. in_force: a version that comes into force now and ends older ones."""
        promise = self._doubts.unfinished
        if promise is not None and promise.version > in_force and self.was_quorate and self._change is None:
            self._doubts.unfinished = None
            self._log.info(f"finishing the change to configuration version {promise.version}, which all have agreed to")
            self._finishing = self._ask(Kind.CONFIG, promise.text), promise

    def _said(self, blobs: dict[NodeId, bytes]) -> dict[NodeId, Said]:
        said: dict[NodeId, Said] = {}
        for node, blob in sorted(blobs.items()):
            try:
                one = words.decode(blob)
            except WireError:
                self.malformed += 1
                continue
            if one is not None:
                said[node] = one
        return said

    def _informed(self, sender: NodeId, version: int, text: bytes) -> None:
        self._informed_of = None
        if version <= self.version:
            return
        if version < self._doubts.highest(self.version):
            self._log.warning(
                f"{self._name_of(sender)} runs configuration version {version}, but a newer one was agreed to here and "
                "may be in force elsewhere"
            )
            return
        reasons = self._judge(Kind.CONFIG, text, True)
        if reasons is None:
            self._informed_of = sender, version, text
            return
        if reasons:
            self._log.error(
                f"{self._name_of(sender)} runs configuration version {version}, which this node cannot take: "
                + "; ".join(reasons)
            )
            return
        self.events.append(Apply(Kind.CONFIG, text, sender, late=True))

    # -- inside ----------------------------------------------------------------------------------------------

    def _proposed(self, sender: NodeId, change_id: bytes, kind: Kind, body: bytes, now: float) -> None:
        # An initiator that forgets its change must not keep all others from changing anything.
        patience = _DEADLINE if sender == self._me else 2 * _DEADLINE
        change = _Change(change_id, kind, body, sender, self._members, set(), now + patience)
        if self._change is not None:
            if self._finishing is not None and self._finishing[0] == change_id:  # its turn comes after this one
                self._doubts.unfinished = self._finishing[1]
            self._conclude(change, [f"{self._name_of(self._change.initiator)} is changing the configuration now"])
            return
        self._change = change
        self._answer(change)

    def _reasons(self, kind: Kind, body: bytes) -> list[str] | None:
        """Against a change; see Judge."""
        if kind is not Kind.CONFIG:
            return self._judge(kind, body, False)
        reasons = self._judge(kind, body, self._doubts.about(body, self.version))
        if reasons != [] or not self._doubts.highest(self.version):
            return reasons
        objection = self._doubts.objection(body, self._describe(body)[0], self.version, self._members)
        return [objection] if objection else []

    def _answer(self, change: _Change) -> None:
        # Asked for while there was quorum, it may be ordered in a ring that has none, where all members are too few.
        reasons = self._reasons(change.kind, change.body) if self.was_quorate else [_NOT_QUORATE]
        if reasons is None:
            return
        change.answered = True
        if reasons or change.kind is not Kind.CONFIG or not self._promise(change):
            self._say(change, reasons)

    def _promise(self, change: _Change) -> bool:
        """Write down what we agree to, and say so when that is done. Who is to be removed by it need not remember."""
        change.version, listed = self._describe(change.body)
        if self._me not in listed:
            return False
        holders = tuple(node for node in change.members if node in listed and node in self._promising)
        promise = Promise(change.change_id, change.version, self._ring_seq, holders, change.body)
        self._promises.add(promise, self.version)
        change.writing = self._write()
        return True

    def _write(self) -> int:
        """Receipts are negative: the ring's own, which come back the same way, are not."""
        self._receipt -= 1
        self.events.append(Persist(self._receipt, NAME, self._promises.encode()))
        return self._receipt

    def _forget(self, change: _Change, others: bool = False) -> None:
        """others: more than this one is forgotten."""
        if self._promises.drop(change.change_id) or others:
            self._write()

    def _say(self, change: _Change, reasons: list[str]) -> None:
        writer = Writer().raw(change.change_id).u8(min(len(reasons), 32))
        for reason in reasons[:32]:
            writer.text(reason[:256])
        self._multicast(_VERDICT, writer.done())

    def _verdict(self, sender: NodeId, change_id: bytes, reasons: list[str]) -> None:
        change = self._change
        if change is None or change.change_id != change_id or sender not in change.members:
            return
        if reasons:
            self._change = None
            self._forget(change, self._doubts.refused(change.body))
            self._conclude(change, [f"{self._name_of(sender)}: {reason}" for reason in reasons])
            self._finish()
            return
        change.agreed.add(sender)
        if len(change.agreed) == len(change.members):
            self._change = None
            if change.kind is not Kind.CONFIG or change.version > self.version:
                self.events.append(Apply(change.kind, change.body, change.initiator))
            self._conclude(change, [])
            self._finish(change.version)

    def _aborted(self, sender: NodeId, change_id: bytes) -> None:
        change = self._change
        if change is not None and change.change_id == change_id and sender in change.members:
            self._change = None
            self._forget(change)
            silent = ", ".join(self._name_of(n) for n in change.members if n not in change.agreed)
            self._conclude(change, [f"{silent} did not answer within {_DEADLINE:.0f} s; nothing was changed"])
            self._finish()

    def _conclude(self, change: _Change, reasons: list[str], unknown: bool = False) -> None:
        if change.initiator == self._me:
            self.events.append(Concluded(change.change_id, tuple(reasons), unknown))

    def _multicast(self, what: int, body: bytes) -> None:
        self.events.append(Multicast(Writer().u8(_VERSION).u8(what).raw(body).done()))
