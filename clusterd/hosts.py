"""This host: its names and addresses, and what the addresses in a nodelist resolve to."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable

from transport.config import TransportConfig
from transport.ids import LinkId, NodeId
from transport.link.events import Address
from transport.link.links import Resolve

RESOLVE_TIMEOUT = 10.0


def numeric(text: str) -> str | None:
    """The canonical form of an IP address (its %scope kept), None for a host name."""
    plain, _, scope = text.partition("%")
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return None
    return f"{address}%{scope}" if scope else str(address)


def names_in(config: TransportConfig) -> set[str]:
    """Host names among the addresses of the nodelist."""
    return {a for n in config.nodes.values() for a in n.addresses.values() if numeric(a) is None}


def resolve(config: TransportConfig, known: dict[str, str]) -> Resolve:
    """(node, link) -> address. known: host name -> IP; a name without one leaves its path out."""
    found: dict[tuple[NodeId, LinkId], Address] = {}
    for node in config.nodes.values():
        for link, text in node.addresses.items():
            ip = numeric(text) or known.get(text)
            if ip:
                found[node.id, link] = (ip, config.links[link].port)
    return found


async def look_up(names: set[str]) -> dict[str, str]:
    """Ask the resolver for each name, IPv6 first as getaddrinfo gives it; names without an answer are left out."""
    loop = asyncio.get_running_loop()

    async def one(name: str) -> tuple[str, str | None]:
        try:
            answers = await asyncio.wait_for(loop.getaddrinfo(name, None, type=socket.SOCK_DGRAM), RESOLVE_TIMEOUT)
        except (OSError, TimeoutError):
            return name, None
        return name, str(answers[0][4][0]) if answers else None

    found = await asyncio.gather(*(one(name) for name in sorted(names)))
    return {name: ip for name, ip in found if ip is not None}


def is_local(ip: str) -> bool:
    """Whether a socket can be bound to `ip` here."""
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:
        try:
            where = socket.getaddrinfo(ip, 0, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4]
            probe.bind(where)
        except OSError:
            return False
    return True


def local_among(addresses: set[str], bound: Callable[[str], bool] = is_local) -> tuple[str, ...]:
    """Those of `addresses` that are this host's own. Loopback does not count: every host has it."""
    found: list[str] = []
    for text in sorted(addresses):
        ip = numeric(text)
        if ip is not None and not ipaddress.ip_address(ip.partition("%")[0]).is_loopback and bound(ip):
            found.append(text)
    return tuple(found)
