"""Three nodes on networks of their own: IPv6, two links, paths of different MTU (part 1; root only)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clusterd.lab import actions, files
from clusterd.lab.layout import Lab
from tests.live.cluster import ROOT, Cluster, eventually
from tests.live.namespaces import ip, namespaces

pytestmark = [pytest.mark.live, pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")]
MTU = {0: (9000, 9000, 1500), 1: (1500, 1500, 1280)}
"""Of each node's interface, by link."""


class Wired(Lab):
    """Node i has fd77:K::i on link K, behind a switch for each link."""

    def addresses(self, ident: int) -> list[str]:
        return [f"fd77:{link}::{ident}" for link in range(self.links)]


@contextmanager
def wired(directory: Path) -> Iterator[Cluster]:
    """The cluster runs and is one."""
    shape = {"base": 0, "nodes": 3, "links": 2, "votes": [1] * 3, "set": ["system.sched_rr=no", "totem.netmtu=9000"]}
    lab = Wired("wired", str(directory), shape)
    files.write(lab)
    daemons: list[subprocess.Popen[bytes]] = []
    with namespaces(4) as (switch, *hosts):
        try:
            for link in range(2):
                bridge = f"br{link}"
                ip("-n", switch, "link", "add", bridge, "mtu", "9000", "type", "bridge")
                ip("-n", switch, "link", "set", bridge, "up")
                for node, host in enumerate(hosts, 1):
                    port, mtu = f"p{link}{node}", str(MTU[link][node - 1])
                    end = ["type", "veth", "peer", "name", f"eth{link}", "netns", host, "mtu", mtu]
                    ip("link", "add", port, "netns", switch, "mtu", "9000", *end)
                    ip("-n", switch, "link", "set", port, "master", bridge, "up")
                    ip("-n", host, "addr", "add", f"{lab.addresses(node)[link]}/64", "dev", f"eth{link}", "nodad")
                    ip("-n", host, "link", "set", f"eth{link}", "up")
            for node, host in enumerate(hosts, 1):
                with Path(lab.log(node)).open("ab") as log:
                    command = ["ip", "netns", "exec", host, *actions.daemon_command(lab, node)]
                    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
                    daemons.append(subprocess.Popen(command, stderr=log, env=environment, cwd=directory))
            cluster = Cluster("wired", lab)
            cluster.together(1, 2, 3)
            cluster.writable(1, 2, 3)
            yield cluster
        finally:
            for daemon in daemons:
                daemon.kill()
                daemon.wait()


def test_ipv6_two_links_and_mixed_mtus(tmp_path: Path) -> None:
    """A ring over IPv6; each path finds its own MTU; small and large files arrive on all, also over link 1 alone."""
    with wired(tmp_path / "wired") as cluster:
        big = os.urandom(900_000)
        with cluster.client(1) as client:
            client.put("small", b"over IPv6")
            client.put("big", big)
        ring = cluster.ring()

        def mtus(node: int) -> dict[tuple[int, int], int]:
            return {(row["peer"], row["link"]): row["mtu"] for row in cluster.links(node)["links"]}

        def found() -> bool:
            one = mtus(1)
            return (
                one[2, 0] == 9000
                and 1280 < one[3, 0] <= 1504  # veth lets four bytes more pass, for a VLAN tag
                and 1280 < one[2, 1] <= 1504
                and 1200 <= one[3, 1] <= 1284
            )

        eventually(f"path MTUs {mtus(1)}", found)
        print("path MTU of (peer, link) from node 1:", mtus(1))
        assert all(row["remote"].startswith("[fd77:") for row in cluster.links(1)["links"])
        for _ in range(3):
            with cluster.client(2) as client:
                client.put("big", big)
        for node in (1, 2, 3):
            ip("-n", f"clusterd-live-{os.getpid()}-{node + 1}", "link", "set", "eth0", "down")
        with cluster.client(3) as client:
            client.put("big", big[::-1])
        cluster.equal()
        with cluster.client(1) as client:
            assert client.cat("big")["data"] == big[::-1]
        assert [cluster.ring(node) for node in (1, 2, 3)] == [ring] * 3
        assert "Traceback" not in "".join(cluster.log(node) for node in (1, 2, 3))
