"""What two ends of a path remember of each other (transport/link/memory.py)."""

from __future__ import annotations

from copy import copy
from random import Random

from tests.transport.link.net import up_net
from transport.events import Recalled
from transport.link.memory import Memory
from transport.link.packets import PING, Ping


def talk(one: Memory, other: Memory, turns: int, both: bool = True) -> bool:
    """They ping each other in turn; does `one` hear of what it never sent? both: the other hears it, too."""
    told = False
    for _ in range(turns):
        ping = one.next_id()
        if both:
            assert not other.heard(ping)
        told |= one.heard(other.next_id())
    return told


def test_who_was_put_back_hears_of_what_it_has_not_sent_yet() -> None:
    """The peer still hears nothing of it, for its counters are used, and tells all the same, within four pings."""
    one, other = Memory(7), Memory(8)
    talk(one, other, 100)
    past = copy(one)
    talk(one, other, 20)
    assert talk(past, other, 8, both=False)


def test_the_peer_of_who_was_put_back_hears_of_nothing_new() -> None:
    """It is not the one that went back."""
    one, other = Memory(7), Memory(8)
    talk(one, other, 100)
    past = copy(one)
    talk(one, other, 20)
    assert not any(other.heard(past.next_id()) for _ in range(19))


def test_nobody_honest_tells_of_what_was_not_sent() -> None:
    """Whatever is lost, late, doubled or in another order, and however often either process begins anew."""
    random = Random(5)
    ends = [Memory(random.getrandbits(64)), Memory(random.getrandbits(64))]
    flying: list[tuple[int, int]] = []
    for _ in range(20_000):
        number = random.randrange(2)
        if random.random() < 0.002:
            ends[number] = Memory(random.getrandbits(64))
            flying = [(to, ping) for to, ping in flying if to != number]  # its sessions are new ones
        flying.append((1 - number, ends[number].next_id()))
        if random.random() < 0.7:
            to, ping = flying.pop(random.randrange(len(flying)))
            assert not ends[to].heard(ping)
            if random.random() < 0.1:
                flying.append((to, ping))
        if len(flying) > 30:
            flying.pop(0)


def test_links_tell_who_recalls_more() -> None:
    """Recalled, once for each time it is told."""
    net = up_net()
    net.run(5.0)
    assert not net.told(1, Recalled) and not net.told(2, Recalled)
    memory = net.links[1]._paths[2, 0].memory
    memory.given -= 20
    net.lost = lambda sender, receiver, link: sender == 1  # what it says was said before, and is dropped
    net.run(1.0)
    assert {event for _, event in net.told(1, Recalled)} == {Recalled(2)}
    assert not net.told(2, Recalled)


def test_pings_of_older_versions_say_nothing() -> None:
    """Their ids are any number, and their flags are zero."""
    net = up_net()
    for number in range(64):
        ping = Ping((100 + number) << 32 | 0xFFFFFF, True)
        net.links[1].receive(2, 0, ("10.0.0.2", 5405), ping.encode(), 42, net.now)
    net.run(0.001)
    assert not net.told(1, Recalled)
    assert next(send.payload[1] & 2 for _, _, send in net.log if send.payload[0] == PING)
