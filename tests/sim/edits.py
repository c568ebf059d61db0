"""What an administrator changes in the text of a configuration, right or wrong."""

from __future__ import annotations

from random import Random

from tests.sim.build import MOVED
from tests.sim.network import address_of
from tests.sim.texts import Draft
from transport.ids import NodeId


def edit(what: str, draft: Draft, me: NodeId, token: float, random: Random) -> None:
    """A change by the name that tests/sim/actions.py has for it. me: the node it will be asked at.

    token: seconds, of the run's settings.
    """
    node = random.choice(sorted(draft.nodes))
    link = random.choice(draft.links)
    match what:
        case "votes":
            draft.nodes[node].set("quorum_votes", str(random.choice((0, 1, 1, 2, 3))))
            expect_all(draft)
        case "expected":
            total = sum(draft.votes.values())
            draft.quorum.set("expected_votes", random.choice((None, str(total))))
        case "option":
            draft.quorum.set("expected_votes", None)  # waiting for more votes than there are would be for ever
            draft.quorum.set("wait_for_all", random.choice((None, "0", "1")))
        case "token":
            usual = round(token * 1000)
            draft.totem.set("token", str(round(usual * random.choice((0.75, 0.9, 1.0)))))
        case "priority":
            draft.interface(link).set("knet_link_priority", str(random.choice((0, 1, 2, 200))))
        case "address":
            draft.nodes[node].set(f"ring{link}_addr", address_of(node + (MOVED << 8), link)[0])
        case "link-add":
            added = next(k for k in range(8) if k not in draft.links)
            for each, section in draft.nodes.items():
                section.set(f"ring{added}_addr", address_of(each, added)[0])
        case "link-remove":
            if len(draft.links) > 1:
                for section in draft.nodes.values():
                    section.set(f"ring{link}_addr", None)
                draft.totem.items = [i for i in draft.totem.items if i is not draft.interface(link)]
        case "wrong-address":
            draft.nodes[me].set(f"ring{link}_addr", address_of(me + 200, link)[0])
        case "wrong-quorum":
            draft.quorum.set("expected_votes", str(10 * sum(draft.votes.values())))
        case "wrong-value":
            draft.totem.set("token", "soon")
        case "wrong-name":
            draft.totem.set("cluster_name", "another")
        case "nothing":
            pass


def expect_all(draft: Draft) -> None:
    """Fewer votes expected than there are would promise nothing."""
    expected = draft.quorum.get("expected_votes")
    if expected is not None and int(expected) < sum(draft.votes.values()):
        draft.quorum.set("expected_votes", None)
