"""How soon a sender knows a claim of a second member, in virtual time: `python -m tests.transport.totem.claims [S]`.

Three nodes; node 2 sends a message, each member claims it 0.3 ms after it came (its fsync), and S seconds (0.001) after
a second claim is known at node 2 it sends the next: what a durable write of one client waits for, without any CPU time.
"""

from __future__ import annotations

import statistics
import sys

from tests.transport.totem.net import Net
from tests.transport.totem.node import Node
from transport.events import Delivery, Progress

FSYNC = 0.0003


def measure(hop: float, think: float, seconds: float = 5.0) -> list[float]:
    """Seconds from sending to the second claim, one by one. hop: of a datagram."""
    net = Net(3, 1, delay=(hop, hop))
    net.start()
    net.until(lambda: net.formed(net.ids), 5.0)
    net.run(0.5)
    found: list[float] = []
    claims = dict.fromkeys(net.ids, 0)
    began: list[float] = []

    def send() -> None:
        began.append(net.now)
        net.send(2)

    def claim(node: Node) -> None:
        claims[node.id] += 1
        node.srp.set_progress(claims[node.id])
        net.pump(node)

    def watch(node: Node, event: object) -> None:
        if isinstance(event, Delivery):
            net.at(net.now + FSYNC, lambda: claim(node))
        elif isinstance(event, Progress) and node.id == 2 and len(found) < len(began) and len(event.values) > 1:
            second = sorted(event.values.values())[-2]
            if second >= len(began):
                found.append(net.now - began[-1])
                net.at(net.now + think, send)

    net.watch = watch
    send()
    net.run(seconds)
    return found


def main() -> None:
    think = float(sys.argv[1]) if len(sys.argv) > 1 else 0.001
    for hop in (0.0001, 0.0002, 0.0005):
        found = measure(hop, think)
        print(f"hop {1000 * hop:g} ms: p50 {1000 * statistics.median(found):.2f} ms of {len(found)}")


if __name__ == "__main__":
    main()
