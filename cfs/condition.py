"""What can be done with the store now, and if not why: one plain sentence (CLI.md, `status`; DESIGN 4 S3)."""

from __future__ import annotations

from dataclasses import dataclass

from cfs.catchup import CatchUp
from cfs.epochs import names
from cfs.errors import DiskFailed
from cfs.primary import Primary
from cfs.status import StoreSettings, StoreStatus
from cfs.store import LocalStore
from cfs.wire import Health
from transport.errors import NoQuorum, Refused
from transport.ids import NodeId

LEAVING = "this node is leaving the cluster"


@dataclass(slots=True)
class Condition:
    """A replica's parts at one moment; for looking only.

    verdict: why the node is quorate or not, in one sentence; empty until there is a verdict about this membership.
    """

    me: NodeId
    now: float
    leaving: bool
    closed: bool
    quorate: bool
    verdict: str
    primary: Primary
    catchup: CatchUp
    store: LocalStore

    @property
    def open(self) -> bool:
        """A primary is open, and this node is whole in it."""
        return self.catchup.whole and self.primary.opened

    def refusal(self) -> tuple[type[Refused], str] | None:
        """Why a write is refused: the error's class and text."""
        reason = self.unusable()
        if reason:
            return NoQuorum, reason
        if self.disk_trouble():
            return DiskFailed, self.disk_trouble()
        if not self.primary.required_present(self.store.log.data_sets(self.store.committed)):
            return DiskFailed, f"too few disks take writes: only those of nodes {names(self.primary.ready)} do"
        return None

    def disk_trouble(self) -> str:
        """That this node's disk takes no writes, and why, in one sentence; empty while it does."""
        journal = self.store.journal
        if not journal.bad(self.now):
            return ""
        return f"the disk of this node does not take writes: {journal.failed or 'it hangs'}"

    def unusable(self) -> str:
        """Why neither writes nor linearizable reads are possible here, or nothing."""
        primary, catchup = self.primary, self.catchup
        choice = primary.choice
        if self.leaving:
            return LEAVING
        if self.closed or not self.verdict:
            return "the membership of the cluster is changing: what the votes say of the new one is not known yet"
        if not self.quorate:
            return f"this node is not quorate: {self.verdict}"
        if choice is None:
            return "the members of the cluster are telling each other what their stores hold"
        if choice.leader is None:
            return choice.reason
        if self.open:
            return ""
        if catchup.excluded:
            return "the store of this node is resynced when a data majority is present"
        if not catchup.whole and self.disk_trouble():
            return self.disk_trouble()
        if not catchup.whole:
            if catchup.due is not None:
                return "this node could not catch up: see its log; it tries again twice a minute"
            return "this node is catching up"
        waiting = (choice.good | choice.lost) & set(primary.members) - primary.ready
        return f"waiting until nodes {names(waiting)} have the same state on disk"

    def word(self) -> str:
        """CLI.md: synced, syncing, damaged or disk_error."""
        if self.store.journal.bad(self.now):
            return "disk_error"
        if self.store.health is Health.LOST:
            return "damaged"
        return "synced" if self.open and self.store.resolved else "syncing"

    def status(self, settings: StoreSettings, malformed: int) -> StoreStatus:
        primary, store, opened = self.primary, self.store, self.open
        state, log, choice = store.state, store.log, primary.choice
        refusal = self.refusal()
        data_set = log.data_sets(store.committed)[0]
        holders = [n for n, claim in primary.claims.items() if claim >= state.index] if opened else [self.me]
        unreadable = store.unreadable()
        return StoreStatus(
            state=self.word(),
            writable=refusal is None,
            reason=refusal[1] if refusal else "",
            revision=state.revision,
            digest=state.digest(),
            entries=state.entries,
            bytes=state.bytes,
            durable_revision=state.revision,
            durable_on=tuple(sorted(holders)) if store.health is Health.GOOD else (),
            durability="disk" if settings.durable else "memory",
            readable=not unreadable,
            unreadable=unreadable,
            epoch=str(primary.ring if opened else log.end.epoch),
            kind=choice.kind.name.lower() if opened and choice else None,
            held_only_by=tuple(sorted(primary.ready)) if opened and primary.narrow else (),
            data_set=dict(data_set.votes),
            learners=tuple(n for n in primary.members if n not in data_set.votes or n not in primary.ready),
            era=log.era,
            log_index=log.end.index,
            committed_index=store.committed,
            applied_index=state.index,
            received=self.catchup.received,
            disk_message=store.journal.failed,
            alarm=bool(choice and choice.alarm),
            malformed=malformed,
        )
