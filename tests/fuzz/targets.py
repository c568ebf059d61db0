"""Every target by name; a target takes any bytes, and raises only when something is wrong."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz import edges, formats, reconfiguring, ring, services, storing

Target = Callable[[bytes], None]

TARGETS: dict[str, Target] = {
    "datagrams": edges.datagrams,
    "links": edges.links,
    "fragments": edges.fragments,
    "formats": formats.formats,
    "ring": ring.srp,
    "barrier": services.barrier,
    "groups": services.groups,
    "quorum": services.quorum,
    "reconfigure": reconfiguring.reconfigure,
    "replica": storing.replica,
    "log": storing.log,
    "database": storing.database,
    "config": formats.config,
    "local_socket": edges.local_socket,
}
