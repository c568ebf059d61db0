"""Gather, commit, recovery on a network in memory: death, leave, restart, pause, the disk, removal."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest

from tests.transport.totem.evs import check
from tests.transport.totem.net import Net
from transport.config import TotemConfig
from transport.events import ConfigurationChange, Delivery, Persist
from transport.ids import NO_RING

TOKEN = TotemConfig().token


def ring_of(n: int, seed: int = 1, **options: object) -> Net:
    """n nodes in one ring, at rest."""
    net = Net(n, seed, **options)  # type: ignore[arg-type]  # options of Net
    net.start()
    net.until(lambda: net.formed(net.ids), 5.0)
    net.run(0.5)
    return net


def changes(net: Net, node: int) -> list[ConfigurationChange]:
    return [e for e in net.nodes[node].trace.events if isinstance(e, ConfigurationChange)]


def delivered(net: Net, node: int) -> list[bytes]:
    return [e.payload for e in net.nodes[node].trace.events if isinstance(e, Delivery)]


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_killed_node_is_out_within_token_and_300_ms(n: int) -> None:
    """DESIGN L2, all phases included."""
    net = ring_of(n)
    net.crash(2)
    rest = [node for node in net.ids if node != 2]
    assert net.until(lambda: net.formed(rest)) <= TOKEN + 0.300
    assert changes(net, 1)[-1].left == (2,)


def test_32_nodes_lose_one_as_fast_and_another_by_its_leave() -> None:
    """DESIGN L2: token + 300 ms, and 100 ms, at 32 nodes too."""
    net = Net(32, 1, pings=False)
    net.start()
    net.until(lambda: net.formed(net.ids), 5.0)
    net.crash(2)
    assert net.until(lambda: net.formed([1, *range(3, 33)])) <= TOKEN + 0.300
    net.leave(5)
    assert net.until(lambda: net.formed([1, 3, 4, *range(6, 33)])) < 0.100


@pytest.mark.parametrize("n", [2, 3])
def test_a_clean_leave_takes_less_than_100_ms(n: int) -> None:
    """DESIGN L2: nobody waits for a node that said goodbye."""
    net = ring_of(n)
    net.leave(2)
    assert net.until(lambda: net.formed([node for node in net.ids if node != 2])) < 0.100


def test_a_leave_is_sent_twice_and_nothing_after_it() -> None:
    """Sent once, unacknowledged, a lost leave costs the full timeouts (facts, totem.md section 8.7)."""
    net = ring_of(3)
    srp = net.nodes[2].srp
    srp.submit(b"x")
    srp.leave(net.now)
    sends = []
    while (send := srp.poll_transmit(net.now)) is not None:
        sends.append(send)
    assert [(s.kind, s.redundant, s.to) for s in sends] == [("join", True, (1, 3))] * 2
    assert srp.left
    assert srp.next_timeout() is None
    assert srp.echo(1, net.now) == NO_RING


def test_kill_and_instant_restart_is_a_new_member_with_the_same_id() -> None:
    """A restarted process is a new member; the transitional set is without it (facts, section 8.6)."""
    net = ring_of(3)
    net.crash(2)
    net.boot(2)
    net.until(lambda: net.formed([1, 2, 3]), TOKEN + 0.300)
    last = changes(net, 1)[-1]
    assert last.incarnations[2] == net.nodes[2].incarnation
    assert 2 not in next(e for e in changes(net, 1) if not e.regular).members
    check(net.traces)


def test_restart_with_the_state_directory_lost() -> None:
    """With the ring seq lost the node is ignored by corosync as old; here it gets in at once."""
    net = ring_of(3)
    net.crash(2)
    net.disk.pop(2)
    net.boot(2)
    net.until(lambda: net.formed([1, 2, 3]), TOKEN + 0.300)


@pytest.mark.parametrize("seconds, expelled", [(0.10, False), (0.40, False), (1.0, True), (3.0, True)])
def test_pauses(seconds: float, expelled: bool) -> None:
    """DESIGN L3: a pause below token - (rest + rotation + 50 ms) expels nobody; a longer one is rejoined from."""
    net = ring_of(3)
    before = net.nodes[1].srp.ring_id
    net.pause(2, seconds)
    net.run(seconds + 1.2)
    assert net.formed([1, 2, 3])
    assert (net.nodes[1].srp.ring_id != before) is expelled
    check(net.traces)
    net.leases.check()


def test_a_process_that_wakes_after_the_token_timeout_gathers_first() -> None:
    """Stale timers must not make it act on stale state: no token leaves it, whatever waits in its sockets."""
    net = ring_of(3)
    node = net.nodes[2]
    net.pause(2, 30.0)
    net.run(0.2)
    tokens = [item for item in node.inbox if item[0] == "frame" and item[2][0] == 1]
    assert tokens
    net.now += TOKEN
    for _, source, frame in tokens:
        node.srp.receive(source, frame, net.now)
    kinds = []
    while (send := node.srp.poll_transmit(net.now)) is not None:
        kinds.append(send.kind)
    assert node.srp.phase == "gather"
    assert set(kinds) == {"join"}


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_short_token_forms_rings_too(n: int) -> None:
    """A value given is obeyed as written (DESIGN 5). Quiet times longer than half a token are no pauses of this
    process: who is called when it asked to be did not sleep."""
    config = TotemConfig(token=0.05, token_retransmit=0.03, hold=0.00625, consensus=0.06)
    for seed in range(3):
        net = Net(n, seed, config)
        net.start()
        assert net.until(lambda net=net: net.formed(net.ids)) < 2.0  # type: ignore[misc]  # called at once
        net.partition([1], net.ids[1:])
        net.run(2.0)
        net.heal()
        assert net.until(lambda net=net: net.formed(net.ids)) < 2.0  # type: ignore[misc]  # called at once


def test_no_ring_above_the_seq_on_disk() -> None:
    """All nodes, not only the representative, never install a seq above their reserved one."""
    net = Net(3, 1, fsync=1.0)
    net.start()
    net.run(0.4)
    assert all(node.srp.ring_id == NO_RING for node in net.alive())
    net.until(lambda: net.formed([1, 2, 3]), 3.0)
    assert all(node.srp.ring_id.seq <= net.disk[node.id] for node in net.alive())


def test_who_cannot_write_a_ring_seq_leaves_the_others_alone() -> None:
    """Known to reach nobody, it takes no ring from those who can; and it is back as soon as its disk has answered."""
    net = Net(3, 1)
    net.disk |= {1: 5000, 2: 5000}
    net.partition([1, 2], [3])
    net.start()
    net.until(lambda: net.formed([1, 2], [3]))
    net.run(0.2)  # the blocks asked for are on disk
    net.fsync = 60.0
    net.heal()
    net.run(3.0)
    gathers = net.nodes[1].srp.stats.gathers
    net.run(20.0)
    assert net.disk[3] < 5000
    assert net.formed([1, 2])
    assert net.nodes[1].srp.stats.gathers == gathers
    net.until(lambda: net.disk[3] > 5000, 100.0)
    assert net.until(lambda: net.formed([1, 2, 3])) < 1.0


def test_the_next_block_of_ring_seqs_is_asked_for_early() -> None:
    """Reserved in blocks ahead, so that no membership change waits for an fsync."""
    net = ring_of(2)
    seen: list[int] = []
    net.watch = lambda node, event: (
        seen.append(int.from_bytes(event.value, "big")) if isinstance(event, Persist) else None
    )
    for _ in range(3):
        net.crash(2)
        net.boot(2)
        net.until(lambda: net.formed([1, 2]), 3.0)
    assert all(net.disk[node] >= net.nodes[node].srp.ring_id.seq + 512 for node in (1, 2))
    assert seen


def test_partition_and_heal() -> None:
    """Both sides go on, each with its own; healed, they are one again within 2 s (DESIGN L1)."""
    net = ring_of(5)
    net.partition([1, 2], [3, 4, 5])
    net.until(lambda: net.formed([1, 2], [3, 4, 5]), TOKEN + 0.300)
    for node in net.ids:
        net.send(node)
    net.run(0.5)
    net.heal()
    assert net.until(lambda: net.formed(net.ids)) < 2.0
    net.run(0.2)
    assert len(changes(net, 1)[-1].transitional_members) == 2
    check(net.traces)


def test_a_removed_node_is_out_once_its_verdict_has_run_out() -> None:
    """A removed node that has not heard of it may trust its verdict for T_excl: nobody goes on without it before."""
    net = ring_of(3)
    nodes = {1: 1, 3: 1}
    for node in (1, 3):
        net.nodes[node].srp.reconfigure(net.config, nodes, net.now)
        net.pump(net.nodes[node])
    assert net.until(lambda: net.formed([1, 3])) < TOKEN + 0.100
    net.run(2.0)
    assert net.formed([1, 3])
    assert net.leases.check()


def test_an_added_node_joins() -> None:
    """Nodes are added live."""
    net = Net(3, 4)
    net.votes = {1: 1, 2: 1}
    net.start([1, 2])
    net.until(lambda: net.formed([1, 2]), 3.0)
    net.votes = {1: 1, 2: 1, 3: 1}
    for node in net.alive():
        node.srp.reconfigure(net.config, dict(net.votes), net.now)
        net.pump(node)
    net.boot(3)
    net.until(lambda: net.formed([1, 2, 3]), 2.0)


def test_votes_decide_who_stays_with_whom() -> None:
    """DESIGN L4: highest votes first. 1 and 2 reach each other, 2 and 3 do; 3 has more votes than 1."""
    net = Net(3, 1, votes={1: 1, 2: 1, 3: 2})
    net.cut(1, 3)
    net.start()
    net.run(3.0)
    assert net.formed([1], [2, 3])


def test_members_of_the_last_primary_stay_together() -> None:
    """DESIGN L4: with equal votes, most members of the last primary, before the lowest id."""
    net = ring_of(3)
    net.partition([1], [2, 3])
    net.until(lambda: net.formed([1], [2, 3]), 2.0)
    for node in (2, 3):
        net.nodes[node].srp.set_primary((2, 3), net.now)
    net.heal()
    net.cut(1, 3)
    net.run(3.0)
    assert net.formed([1], [2, 3])


def test_a_flapping_outsider_does_not_make_the_same_members_reform() -> None:
    """Facts, totem.md section 7.3: corosync forms the same two-node ring every 4 s. Here nothing happens."""
    net = Net(3, 1)
    net.cut(1, 3)
    net.start()
    net.run(3.0)
    assert net.formed([1, 2], [3])
    before = net.nodes[1].srp.stats.gathers
    for _ in range(5):
        net.crash(3)
        net.boot(3)
        net.run(1.0)
    assert net.nodes[1].srp.stats.gathers == before


def test_joins_that_never_come_end_in_rings_all_the_same() -> None:
    """Pings pass between 1 and 3, membership messages do not: bounded time, and no thrashing."""
    net = Net(3, 1)
    net.drop = lambda a, b, kind, frame: {a, b} == {1, 3} and kind in ("join", "merge", "commit", "token")
    net.start()
    net.run(6.0)
    assert net.formed([1, 2], [3])
    gathers = net.nodes[1].srp.stats.gathers
    net.run(20.0)
    assert net.nodes[1].srp.stats.gathers - gathers <= 12


def test_merge_detection_is_silent_when_all_are_in() -> None:
    """Thrifty when idle: nothing goes out but the token."""
    net = ring_of(3)
    before = net.sent.copy()
    net.run(5.0)
    kinds = net.sent - before
    assert set(kinds) <= {"token", "ping", "pong"}


def test_obligations_survive_an_interrupted_recovery() -> None:
    """Who declared to have everything must deliver it in a later attempt (facts, totem.md section 8.5).

    n4 numbers a message nobody gets, and dies; n3 sends a safe one behind that gap. n1 declares in recovery, n2
    installs and delivers in the transitional configuration {1, 2, 3}; then n1 is cut off and goes on alone.
    """
    net = ring_of(4)
    passed = []

    def drop(source: int, to: int, kind: str, frame: bytes) -> bool:
        if source == 4 and kind == "token" and net.nodes[4].srp.stats.mcasts_sent:
            passed.append(to)
        return source == 4 and kind == "mcast"

    net.drop = drop
    net.send(4)
    net.until(lambda: bool(passed))
    net.crash(4)
    message = net.send(3, safe=True)
    first = net.nodes[2].srp.ring_id

    def isolate(node: int, line: str) -> None:
        if node == 2 and line.startswith("operational") and net.nodes[2].srp.ring_id != first:
            net.partition([1], [2, 3])

    net.on_log = isolate
    net.until(lambda: net.formed([1]) and net.formed([2, 3]), 5.0)
    assert message in delivered(net, 2)
    assert message in delivered(net, 1)
    assert changes(net, 1)[-2].members == (1,)
    net.until(lambda: net.formed([1], [2, 3]), 2.0)
    check(net.traces)


def test_late_messages_of_the_old_ring_count_only_until_the_commit_token() -> None:
    """Nothing old is taken in once the state was written on the commit token: others would lack it (E8)."""
    net = ring_of(3)
    late: list[bytes] = []

    def drop(source: int, to: int, kind: str, frame: bytes) -> bool:
        if source == 3 and kind == "mcast" and (not late or frame == late[0]):
            late.append(frame)
            return True
        return False

    net.drop = drop
    net.send(3)
    net.until(lambda: bool(late))
    net.send(3)
    net.run(0.0005)
    net.crash(3)

    def hand_over(node: int, line: str) -> None:
        if node == 1 and line.startswith("recovery"):
            net.at(net.now, lambda: net.nodes[1].srp.receive(2, late[0], net.now))

    net.on_log = hand_over
    net.until(lambda: net.formed([1, 2]), 2.0)
    net.run(0.1)
    assert delivered(net, 1) == delivered(net, 2) == []  # the second lies behind a gap, and its sender is gone
    check(net.traces)


def test_order_at_the_end_of_a_ring() -> None:
    """Facts, totem.md section 1, (1) to (4): an unstable safe message, and all behind it, after the event."""
    net = ring_of(3)
    net.drop = lambda source, to, kind, frame: to == 3 and kind == "mcast"
    first = net.send(1)
    safe = net.send(1, safe=True)
    after = net.send(1)
    net.run(0.0005)
    net.crash(3)
    net.until(lambda: net.formed([1, 2]), 2.0)
    events = net.nodes[2].trace.events[-6:]
    shape = [e.payload if isinstance(e, Delivery) else e.regular for e in events]
    assert shape[-5:] == [first, False, safe, after, True]
    assert [e.transitional for e in events if isinstance(e, Delivery)][-2:] == [True, True]


def test_a_sender_that_dies_behind_its_token_leaves_a_hole() -> None:
    """The numbers of multicasts that were to follow the token exist nowhere: what others sent behind them is delivered
    after the transitional event, the same everywhere (facts, totem.md section 13; checklist 2)."""
    net = ring_of(3)
    behind: list[bytes] = []

    def die(source: int, to: int, kind: str, frame: bytes) -> bool:
        if source == 1 and kind == "token" and net.nodes[1].srp.stats.accelerated and not behind:
            net.at(net.now, lambda: net.crash(1))
            behind.append(frame)
        return source == 1 and kind == "mcast" and bool(behind)

    net.drop = die
    for _ in range(400):
        for node in net.ids:
            net.send(node, 1200)
    net.until(lambda: net.formed([2, 3]), 2.0)
    net.until(net.quiet, 2.0)
    assert behind
    check(net.traces)
    late = [e for e in net.nodes[2].trace.events if isinstance(e, Delivery) and e.transitional]
    assert late and {e.sender for e in late} <= {2, 3}
    before = [e.seq for e in net.nodes[2].trace.events if isinstance(e, Delivery) and e.ring_id == late[0].ring_id]
    assert any(b - a > 1 for a, b in pairwise(before))


def test_timeouts_given_are_obeyed() -> None:
    """A value given in corosync.conf is obeyed as written (DESIGN 5)."""
    config = dataclasses.replace(TotemConfig(), token=2.0, consensus=2.4)
    net = ring_of(3, config=config)
    net.crash(3)
    assert 1.8 < net.until(lambda: net.formed([1, 2])) < 2.3


def test_mcasts_go_to_members_only() -> None:
    """Multicasts go to ring members; only joins go to all configured nodes."""
    net = ring_of(3)
    net.partition([1, 2], [3])
    net.until(lambda: net.formed([1, 2], [3]), 2.0)
    to_three: list[str] = []
    net.drop = lambda a, b, kind, frame: bool(b == 3 and kind not in ("ping", "pong") and to_three.append(kind))
    net.send(1)
    net.run(1.0)
    assert set(to_three) <= {"merge", "join"}
