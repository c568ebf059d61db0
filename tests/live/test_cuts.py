"""Cut links and nodes: the ring that forms is the same for a lab's cuts and a firewall's, and it stays (L1, L4)."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from clusterd.client import NoQuorum
from clusterd.lab import actions, layout
from tests.live.cluster import Cluster, Writer, eventually
from tests.live.namespaces import clusterctl_inside, inside, namespaces

pytestmark = pytest.mark.live
Lab = Callable[..., Cluster]


def isolated(cluster: Cluster) -> None:
    """Node 3 is alone and says so, the others go on."""
    cluster.together(1, 2)
    cluster.writable(1, 2)
    eventually("node 3 alone", lambda: not cluster.status(3)["quorum"]["quorate"] and cluster.members(3) == [3])
    with cluster.client(3) as client, pytest.raises(NoQuorum):
        client.put("b", b"x")


def pairs(cluster: Cluster) -> set[tuple[int, ...]]:
    return {tuple(cluster.members(node)) for node in (1, 2, 3)}


def stays(cluster: Cluster, seconds: float) -> None:
    """The same rings for so long: no member forms again and again (L4)."""
    before = [cluster.ring(node) for node in (1, 2, 3)]
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert [cluster.ring(node) for node in (1, 2, 3)] == before
        time.sleep(0.1)


def test_cuts_of_a_lab(lab: Lab) -> None:
    """A link, a node, one direction, a pair that both see the third; each healed again."""
    cluster = lab(3)
    ring = cluster.ring()
    with Writer(cluster, 1, "w") as writer:
        writer.more(10)
        cluster.cut("all", "all", link=0)
        writer.more(50)
        assert writer.problems == []
        print(f"link 0 cut: longest time between two acknowledgements {writer.gap * 1000:.0f} ms")
    assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
    down = [row for row in cluster.links(1)["links"] if row["link"] == 0]
    assert len(down) == 2
    eventually("link 0 down", lambda: {r["state"] for r in cluster.links(1)["links"] if r["link"] == 0} == {"down"})
    cluster.heal()

    cluster.cut("3", "1,2")
    isolated(cluster)
    cluster.heal()
    cluster.whole()
    cluster.equal()

    # Node 1 and 2 do not hear each other, node 3 hears both: one of them goes with 3, and it stays so.
    cluster.cut("1", "2")
    eventually("a pair and a single", lambda: pairs(cluster) in ({(1, 3), (2,)}, {(2, 3), (1,)}))
    stays(cluster, 2.0)
    cluster.writable(3)
    with cluster.client(3) as client:
        client.put("meanwhile", b"x")
    cluster.heal()
    cluster.whole()

    # Node 2 is not heard by 1 but hears it: no ring has both.
    cluster.cut("2", "1", one_way=True)
    eventually("a pair and a single", lambda: pairs(cluster) in ({(1, 3), (2,)}, {(2, 3), (1,)}))
    stays(cluster, 2.0)
    cluster.heal()
    cluster.whole()
    cluster.equal()


@pytest.mark.skipif(os.geteuid() != 0 or shutil.which("nft") is None, reason="needs root and nft")
def test_a_firewall_gives_the_same_as_a_cut(tmp_path: Path) -> None:
    """nft drop rules on the same addresses, in a network namespace of their own (CLI.md, last sentence)."""
    name = f"live-nft-{os.getpid()}"
    with namespaces(1) as (space,):
        try:
            words = ["lab", "up", "3", "--dir", str(tmp_path / "lab"), "--set", "system.sched_rr=no"]
            clusterctl_inside(space, "--lab", name, *words)
            cluster = Cluster(name, layout.need(name))
            ring = cluster.ring()
            inside(space, "nft", "add", "table", "ip", "cut")
            inside(space, "nft", "add chain ip cut in { type filter hook input priority 0 ; }")
            with Writer(cluster, 1, "w") as writer:
                writer.more(10)
                inside(space, "nft", "add rule ip cut in udp dport 5405 drop")
                writer.more(50)
                assert writer.problems == []
                print(f"port 5405 dropped: longest time between two {writer.gap * 1000:.0f} ms")
            assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
            inside(space, "nft", "flush", "chain", "ip", "cut", "in")
            links = f"{{ {', '.join(cluster.lab.addresses(3))} }}"
            inside(space, "nft", f"add rule ip cut in ip saddr {links} ip daddr != {links} drop")
            inside(space, "nft", f"add rule ip cut in ip daddr {links} ip saddr != {links} drop")
            isolated(cluster)
            inside(space, "nft", "flush", "chain", "ip", "cut", "in")
            cluster.whole()
            cluster.equal()
        finally:
            actions.down(name, keep=False)
