"""This host's names and addresses, and what a nodelist's addresses resolve to."""

import asyncio
import socket

import pytest

from clusterd import hosts
from tests.clusterd.config.samples import config_of, three


def test_numeric_addresses_have_one_spelling():
    """IPv4 and IPv6 in their canonical form, a scope kept; anything else is a name."""
    assert hosts.numeric("10.0.0.1") == "10.0.0.1"
    assert hosts.numeric("FD00:0::01") == "fd00::1"
    assert hosts.numeric("fe80::1%eth0") == "fe80::1%eth0"
    assert hosts.numeric("node1.example") is None
    assert hosts.numeric("10.0.0") is None


def named() -> str:
    return three().replace("10.0.0.2", "two.example")


def test_names_of_the_nodelist():
    """Only what is no address is asked for."""
    assert hosts.names_in(config_of(named()).transport) == {"two.example"}


def test_a_name_that_nothing_resolves_leaves_its_path_out():
    """The others keep theirs: a missing DNS entry costs one path, not the start."""
    transport = config_of(named()).transport
    assert hosts.resolve(transport, {}).keys() == {(1, 0), (3, 0)}
    assert hosts.resolve(transport, {"two.example": "10.0.0.2"})[2, 0] == ("10.0.0.2", 5405)
    assert hosts.resolve(transport, {"two.example": ""}).keys() == {(1, 0), (3, 0)}


async def test_look_up_gives_what_the_resolver_says(monkeypatch: pytest.MonkeyPatch):
    """The first answer of each name; names without one are left out, and a slow one does not hold up the others."""
    answers = {"two.example": "fd00::2", "three.example": "10.0.0.3"}

    async def getaddrinfo(name: str, _port: object, **_: object) -> list[tuple[object, ...]]:
        if name == "slow.example":
            await asyncio.sleep(60)
        if name not in answers:
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET6, socket.SOCK_DGRAM, 17, "", (answers[name], 0, 0, 0))]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(hosts, "RESOLVE_TIMEOUT", 0.05)
    found = await hosts.look_up({"two.example", "three.example", "slow.example", "nobody.example"})
    assert found == answers


def test_addresses_of_this_host():
    """Loopback is every host's and says nothing; an address that cannot be bound is another's."""
    given = {"10.0.0.1", "10.0.0.2", "127.0.0.1", "::1", "name.example"}
    assert hosts.local_among(given, bound=lambda ip: ip == "10.0.0.2") == ("10.0.0.2",)
    assert hosts.is_local("127.0.0.1")
    assert not hosts.is_local("203.0.113.77")
    assert not hosts.is_local("fe80::1%nosuchdevice")
