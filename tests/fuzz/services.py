"""The services on the ring among members that say anything: barrier, groups, quorum, configuration.

Messages are authentic and in order, as the ring gives them; what is in them is the input's. Whatever comes, nothing
raises, and what is kept for a member does not grow with what it says.
"""

from __future__ import annotations

from quorum import messages
from quorum.options import QuorumOptions
from quorum.votequorum import SavedState, Votequorum
from tests.fuzz.draws import Draws, packed
from tests.fuzz.mutation import changed
from transport.codec import Writer
from transport.core import SilentLog
from transport.errors import Refused
from transport.events import ConfigurationChange, Delivery
from transport.groups import MAX_LOCAL_MEMBERS, Groups, Reason
from transport.ids import NodeId, RingId
from transport.sync import Sync, encode

NODES = (1, 2, 3)
MAX_STEPS = 60
MAX_EVENTS = 2000


class _Fixed:
    def sync_state(self) -> bytes:
        return b"state"


def barrier(data: bytes) -> None:
    """Any messages of the barrier's channel."""
    draw = Draws(data)
    sync = Sync(2, {"groups": _Fixed(), "quorum": _Fixed()}, SilentLog())
    ring = RingId(4, 1, 1)
    sync.begin(ConfigurationChange(regular=True, ring_id=ring, members=NODES))
    honest = [encode(ring, {"groups": b"", "quorum": b"x"}), encode(ring, {}), encode(RingId(3, 1, 1), {"quorum": b""})]
    for _ in range(MAX_STEPS):
        if not draw.more:
            return
        sender = draw.of((1, 2, 3, 9))
        if draw.flag():
            sync.receive(sender, changed(draw, honest))
        else:
            sync.hold(Delivery(sender, draw.blob(200), ring, 1, False, False))
        while sync.poll() is not None:
            pass


def _group_message(draw: Draws) -> bytes:
    kind, pid, group = draw.below(5), draw.below(8), bytes([draw.below(4)]) * draw.of((0, 1, 2, 128, 129))
    made = Writer().u8(draw.of((1, 1, 1, 0))).u8(kind).u32(pid).blob(group).raw(draw.blob(20)).done()
    return changed(draw, [made]) if draw.flag() else made


def groups(data: bytes) -> None:
    """Any messages of the groups' channel, and any state at the barrier."""
    draw = Draws(data)
    core = Groups(2, SilentLog())
    for _ in range(MAX_STEPS):
        if not draw.more:
            break
        match draw.below(5):
            case 0:
                members = tuple(node for node in NODES if node == 2 or draw.flag())
                blob = packed("!BI", 1, draw.number((0, 1, MAX_LOCAL_MEMBERS))) + draw.blob(100)
                states = {node: draw.of((blob, b"", core.sync_state())) for node in members}
                core.sync_activate(members, states)
            case 1:
                try:
                    name, pid = bytes([draw.below(4)]), draw.below(8)
                    if draw.flag():
                        core.join(name, pid)
                    else:
                        core.leave(name, pid, Reason.PROCDOWN)
                except Refused:
                    pass
            case _:
                core.deliver(draw.of((1, 2, 3)), _group_message(draw))
        for _ in range(MAX_EVENTS):
            if core.next_event() is None:
                break


def _quorum_message(draw: Draws) -> bytes:
    numbers = (1, 3, 65535)
    flags = messages.Flag(draw.byte())
    node: NodeId = draw.of((0, 1, 2, 3, 9))
    votes = min(draw.number(numbers), 0xFFFFFFFF)
    others = min(draw.number(numbers), 0xFFFFFFFF)
    kinds: list[messages.Message] = [
        messages.NodeInfo(votes, others, flags, node, draw.below(4), draw.of(("", "Qdevice", "x" * 300))),
        messages.SetExpected(votes),
        messages.SetVotes(node, votes),
        messages.CancelWait(),
        messages.Configured(votes, others),
    ]
    made = messages.encode(draw.of(kinds))
    return changed(draw, [made]) if draw.byte() < 64 else made


def quorum(data: bytes) -> None:
    """Any messages of the quorum channel, and any node's information at the barrier, under any option."""
    draw = Draws(data)
    options = QuorumOptions(
        votes=dict.fromkeys(NODES, 1),
        wait_for_all=draw.flag(),
        last_man_standing=draw.flag(),
        allow_downscale=draw.flag(),
        expected_votes_tracking=draw.flag(),
    )
    core = Votequorum(2, options, SavedState(), lambda node: f"n{node}", SilentLog())
    now, seq = 100.0, 1
    for _ in range(MAX_STEPS):
        if not draw.more:
            break
        now += 0.01
        match draw.below(6):
            case 0:
                members = tuple(node for node in NODES if node == 2 or draw.flag())
                seq += 1
                core.sync_init(members, RingId(seq, members[0]), members, now)
                states = {node: core.sync_state() if node == 2 else _quorum_message(draw) for node in members}
                core.sync_activate(states, now)
            case 1:
                core.beat((draw.of((1, 3)),), now, now)
            case 2:
                now += draw.of((0.1, 1.0, 11.0))
                core.handle_timeout(now)
            case _:
                core.receive(draw.of((1, 2, 3, 9)), _quorum_message(draw), now)
        for _ in range(MAX_EVENTS):
            if core.next_event() is None:
                break
        else:
            raise AssertionError("one message makes events without end")
