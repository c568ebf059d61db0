"""A free range of loopback addresses for a new lab: 127.B.LINK.NODE, UDP port 5405 + LINK."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

from clusterd.client.errors import Conflict, Failed
from clusterd.lab.layout import FIRST_PORT

FIRST_BASE, LAST_BASE = 77, 254


@contextlib.contextmanager
def free_base(wanted: int | None, nodes: int, links: int, taken: set[int]) -> Iterator[int]:
    """The wanted base, or the first free one; no other lab of this host takes it inside the with block.

    taken: bases of labs that do not run now. The reservation is an abstract unix socket: it knows no users, ends with
    the process, and is local to the network namespace, as the addresses are. Raises Conflict, Failed.
    """
    for base in range(FIRST_BASE, LAST_BASE + 1) if wanted is None else [wanted]:
        if base in taken:
            continue
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as reservation:
            try:
                reservation.bind(f"\0clusterd-lab-base-{base}")
            except OSError:
                continue
            if _free(base, nodes, links):
                yield base
                return
    if wanted is not None:
        raise Conflict(f"addresses 127.{wanted}.LINK.NODE are in use", "leave --base out: the first free one is taken")
    ports = f"UDP ports {FIRST_PORT} to {FIRST_PORT + links - 1}"
    raise Failed(f"no free addresses from 127.{FIRST_BASE} on", f"does something hold {ports} on all addresses?")


def _free(base: int, nodes: int, links: int) -> bool:
    for link in range(links):
        for node in range(1, nodes + 1):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                try:
                    probe.bind((f"127.{base}.{link}.{node}", FIRST_PORT + link))
                except OSError:
                    return False
    return True
