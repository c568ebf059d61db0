"""A plan as a story: who, what, when, for a reader who wants to see what happened to whom."""

from __future__ import annotations

from collections.abc import Iterable

from tests.sim.history import Violation
from tests.sim.plan import Plan
from tests.sim.troubles import Fault

# {where}, {other}: nodes (links where said).  {amount}: a number as it is, {percent}, {milliseconds}: of it.
WORDS = {
    "partition": "{where} and {other} are cut off from each other",
    "partial": "{where} and {other} do not hear each other; both hear the others",
    "one-way": "what {where} sends does not reach {other}",
    "asymmetric": "about half of the ways between {where} and the others are cut, each in one direction",
    "delay": "packets to {where}, from there, or both take {milliseconds} ms",
    "link-down": "link {links} is down everywhere",
    "flap": "the paths between {where} and {other} close and open in turn",
    "clog": "the paths of {where} are clogged one by one, and opened in another order",
    "mtu-hole": "packets of {where} above {amount} bytes vanish without a word",
    "too-big": "packets of {where} above {amount} bytes do not pass, and its kernel says so",
    "noise": "{percent} % of what {where} sends is lost, as much doubled, more held back, some damaged",
    "kill": "{where}: the process is killed, and started again at the end",
    "leave": "{where}: clean leave, and started again at the end",
    "pause": "{where}: the process is stopped, and goes on at the end",
    "power": "{where}: the power is gone; back shortly after the end",
    "blank": "{where}: killed, comes back with an empty disk",
    "rot": "{where}: killed, comes back with damage on its disk",
    "rollback": "{where}: at the end killed, and comes back with the disk it has now",
    "snapshot": "{where}: at the end the virtual machine is put back to how it is now",
    "slow-disk": "{where}: the disk is {amount} times slower",
    "slow-node": "{where}: the machine is {amount} times slower",
    "disk-hung": "{where}: the disk does not answer",
    "disk-full": "{where}: the disk is full",
    "disk-broken": "{where}: every write to the disk fails",
    "clock-jump": "{where}: the wall clock jumps by {amount} s",
    "address-gone": "{where} has no address on link {others} any more",
    "device-cut": "{where} does not reach the quorum device",
    "device-down": "the quorum device is down",
    "replay": "an attacker sends old packets again",
    "reflect": "an attacker sends packets back, and to others",
    "copy": "an attacker sends copies of packets elsewhere, and faster than the originals",
    "forge": "an attacker forges headers",
    "flood": "an attacker floods the nodes with calls and junk",
    "other-cluster": "another cluster is on the same network",
    "same-name": "another cluster of the same name is on the same network",
}


def lines(plan: Plan, failure: Violation | None = None) -> list[str]:
    """One line per event, in order of time, to the end of the run or to where it failed."""
    events = [(fault.at, f"until {fault.until:.3f}: {worded(fault)}") for fault in plan.faults]
    for action in plan.actions:
        crash = f"; some node's power goes {action.crash * 1000:g} ms later" if action.crash else ""
        events.append((action.at, f"administrator: {action.kind}{crash}"))
    events.append((plan.faults_end, f"all faults have ended, whatever was off is on; the end at {plan.seconds:.3f}"))
    if failure is not None:
        events = [(at, text) for at, text in events if at <= failure.at]
        events.append((failure.at, f"BROKEN {failure}"))
    return [f"{at:8.3f} s  {text}" for at, text in sorted(events, key=lambda event: event[0])]


def worded(fault: Fault) -> str:
    """One trouble in words."""
    words = WORDS.get(fault.kind)
    if words is None:
        return str(fault)
    return words.format(
        where=_nodes(fault.where),
        other=_nodes(fault.other),
        links=", ".join(map(str, fault.where)),
        others=", ".join(map(str, fault.other)),
        amount=f"{fault.amount:g}",
        milliseconds=f"{fault.amount * 1000:g}",
        percent=f"{fault.amount * 100:g}",
    )


def _nodes(nodes: Iterable[int]) -> str:
    ids = sorted(nodes)
    if len(ids) == 1:
        return f"node {ids[0]}"
    return f"nodes {', '.join(map(str, ids[:-1]))} and {ids[-1]}" if ids else "nobody"
