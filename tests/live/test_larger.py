"""More nodes than three: they form one ring, and all agree when one dies (L1, L2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.live.cluster import Cluster

pytestmark = pytest.mark.live
Lab = Callable[..., Cluster]


@pytest.mark.parametrize("nodes", [5, 9])
def test_one_of_many_dies(lab: Lab, nodes: int) -> None:
    """Every survivor has a verdict without it; the time is printed, not judged: nine daemons share this machine."""
    # A token that nine starting processes on two busy cores do not miss.
    cluster = lab(nodes, "totem.token=2000")
    survivors = [node for node in cluster.lab.ids if node != 2]
    verdicts = cluster.verdict_without(2, *survivors)
    killed = cluster.kill(2)
    seen = verdicts.wait()
    print(f"{nodes} nodes, token 2 s: SIGKILL to the verdict on all others {max(w for w, _ in seen) - killed:.2f} s")
    assert all(verdict["quorate"] for _, verdict in seen)
    cluster.together(*survivors)
    with cluster.client(nodes) as client:
        client.put("a", b"x")
    cluster.equal(*survivors)
