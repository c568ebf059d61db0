"""L2 to L4: their checkers accept what is in time, catch what is not, and judge only where nothing else happened."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.sim.checkers import departures, pauses, steady
from tests.sim.checkers.calm import Calm, Tempo, Trouble
from tests.sim.histories import history_of
from tests.sim.history import Configured, History, Violation
from transport.events import ConfigurationChange
from transport.ids import RingId

TEMPO = Tempo(token=0.6, least=0.6, slowness=1.0, rotation=0.01, lossless=True)
END = 20.0


def ring(history: History, at: float, seq: int, *members: int) -> None:
    """All members install this ring."""
    for process in history.processes:
        if process.node in members and process.ended is None:
            change = ConfigurationChange(True, RingId(seq, members[0], 1), members)
            process.events.append(Configured(at, change))


def three() -> History:
    history = history_of()
    ring(history, 0.3, 4, 1, 2, 3)
    return history


def judged(history: History, *troubles: Trouble, changes: tuple[float, ...] = (), tempo: Tempo = TEMPO) -> Counter[str]:
    calm = Calm(history, troubles, changes, tempo, END)
    return Counter(L2=departures.check(calm), L3=pauses.check(calm), L4=steady.check(calm))


def caught(promise: str, history: History, *troubles: Trouble) -> None:
    with pytest.raises(Violation, match=f"^{promise}: "):
        judged(history, *troubles)


def killed(out_at: float) -> tuple[History, Trouble]:
    history = three()
    history.processes[2].ended = 10.0
    ring(history, out_at, 8, 1, 2)
    return history, Trouble("kill", 10.0, 19.0)


def test_a_killed_node_is_out_in_time() -> None:
    """L2: token + 300 ms."""
    history, kill = killed(10.8)
    assert judged(history, kill)["L2"] == 2
    caught("L2", *killed(11.0))


def test_a_kill_among_other_troubles_is_not_judged() -> None:
    """L2 speaks of a cluster that nothing else disturbs."""
    for trouble in (Trouble("noise", 9.0, 9.5), Trouble("slow-node", 2.0, 15.0), Trouble("partial", 10.5, 12.0)):
        history, kill = killed(11.0)
        assert judged(history, kill, trouble)["L2"] == 0
    history, kill = killed(11.0)
    assert judged(history, kill, changes=(10.2,))["L2"] == 0
    lossy = Tempo(0.6, 0.6, 1.0, 0.01, lossless=False)
    assert not any(judged(history, kill, tempo=lossy).values())


@pytest.mark.parametrize(("out_at", "right"), [(10.05, True), (10.2, False)])
def test_a_clean_leave_is_quick(out_at: float, right: bool) -> None:
    """L2: less than 100 ms from the request on."""
    history = three()
    gone = history.processes[2]
    gone.leaving, gone.ended, gone.left = 10.0, 10.04, True
    ring(history, out_at, 8, 1, 2)
    leave = Trouble("leave", 10.0, 19.0)
    if right:
        assert judged(history, leave)["L2"] == 2
    else:
        caught("L2", history, leave)


def test_a_short_pause_expels_nobody() -> None:
    """L3: 0.6 s - (0.075 + 0.01 + 0.05) s."""
    history = three()
    history.pauses = [(2, 10.0, 10.4)]
    pause = Trouble("pause", 10.0, 10.4)
    assert judged(history, pause)["L3"] == 1
    ring(history, 10.45, 8, 1, 2, 3)
    caught("L3", history, pause)


def test_after_a_long_pause_the_node_is_back() -> None:
    """L3: without a restart, as soon as any ring forms."""
    history = three()
    history.pauses = [(2, 10.0, 12.0)]
    ring(history, 10.7, 8, 1, 3)
    pause = Trouble("pause", 10.0, 12.0)
    caught("L3", history, pause)
    ring(history, 12.3, 12, 1, 2, 3)
    assert judged(history, pause)["L3"] == 1


def test_a_ring_that_forms_again_and_again_is_caught() -> None:
    """L4: the network keeps one shape, and has done so for a while."""
    history = three()
    ring(history, 5.5, 8, 1, 2)
    ring(history, 5.5, 12, 3)
    cut = Trouble("partition", 5.0, 12.0)
    assert judged(history, cut)["L4"] == 3
    ring(history, 9.5, 16, 1, 2)
    caught("L4", history, cut)


def test_a_ring_that_moves_in_rough_weather_is_not_judged() -> None:
    """L4 says nothing of a network that loses packets now and then."""
    history = three()
    ring(history, 9.0, 8, 1, 2, 3)
    assert judged(history, Trouble("noise", 1.0, END))["L4"] == 0
    caught("L4", history)


def test_a_ring_that_a_member_is_not_in_is_caught() -> None:
    """L4: stable rings, all of whose members are in them."""
    history = three()
    ring(history, 1.0, 8, 1, 2)
    caught("L4", history)


def test_of_two_that_leave_together_neither_is_judged() -> None:
    """L2: who comes second goes from the ring that is formed without the first."""
    history = three()
    for gone, ended in ((history.processes[1], 10.02), (history.processes[2], 10.3)):
        gone.leaving, gone.ended, gone.left = 10.0, ended, True
    calm = Calm(history, [Trouble("leave", 10.0, 19.0)], (), TEMPO, END)
    assert departures.check(calm) == 0


def test_on_a_slow_wire_it_takes_longer_until_a_ring_has_its_shape() -> None:
    """L4: two rings one after the other, each a few rotations."""
    history = three()
    ring(history, 12.5, 8, 1, 2, 3)
    slow = Tempo(0.6, 0.6, 1.0, rotation=0.25, lossless=True)
    with pytest.raises(Violation, match=r"^L4: "):
        judged(history, changes=(10.0,))
    assert judged(history, changes=(10.0,), tempo=slow)["L4"] == 2


def test_on_a_slow_wire_a_killed_node_is_out_later() -> None:
    """L2: six rotations of the token instead of 300 ms, where they are longer."""
    history, kill = killed(11.0)
    slow = Tempo(0.6, 0.6, 1.0, rotation=0.1, lossless=True)
    assert judged(history, kill, tempo=slow)["L2"] == 2
