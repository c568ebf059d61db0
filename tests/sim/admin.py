"""The administrator of a run: changes its cluster through the product's own ways, in the middle of everything else.

A change is made as a person makes it: take the text in force at some node, edit it, raise its version, hand it to that
node (Node.change_config); likewise keys (rotate_key) and votequorum's runtime requests. A machine that joins gets the
file and the authkey copied from a member. Nobody tells a node that is off.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random

from clusterd.node import Node
from clusterd.removals import NAME as REMOVALS
from tests.sim import actions
from tests.sim.actions import ELSEWHERE, Action
from tests.sim.build import AUTHKEY, CONFIG, FOREIGN, KEYRING, Recipe
from tests.sim.checkers import administration
from tests.sim.checkers.changes import DONE, REFUSED, Change
from tests.sim.clock import Clock
from tests.sim.edits import edit, expect_all
from tests.sim.host import Host
from tests.sim.minutes import Minutes
from tests.sim.network import address_of
from tests.sim.texts import Draft, votes_in
from transport.errors import ClusterError
from transport.ids import LinkId, NodeId, RingId


class Administrator:
    """Carries out `actions`, and writes them into the `minutes`."""

    def __init__(
        self,
        clock: Clock,
        random: Random,
        hosts: Mapping[NodeId, Host],
        recipe: Recipe,
        say: Callable[[str], None],
    ) -> None:
        self._clock = clock
        self._random = random
        self._hosts = hosts
        self._recipe = recipe
        self._say = say
        self._numbers = 0
        self._calm: list[Change] = []
        self._rings: dict[NodeId, RingId] = {}
        self._healed = False
        self._switched_on: set[NodeId] = set()
        self.minutes = Minutes(clock, hosts, recipe, say, self._switch_on_added)
        self.begun = 0

    def schedule(self, planned: tuple[Action, ...]) -> None:
        for action in planned:
            self._clock.at(action.at, self._act, action)

    # -- the cluster as the administrator sees it ------------------------------------------------------------

    def text(self) -> bytes:
        """The newest configuration that runs anywhere now; the first one while nothing runs."""
        texts = [host.node.changes.config for host in self._hosts.values() if host.node is not None]
        return max(texts, key=lambda config: config.config_version).text if texts else self._recipe.text

    def listed(self) -> tuple[NodeId, ...]:
        return tuple(sorted(votes_in(self.text())))

    def may_start(self, node: NodeId) -> bool:
        """There is a configuration on this machine's disk, or was from the start."""
        return CONFIG in self._hosts[node].storage.files or node in votes_in(self._recipe.text)

    def equip(self, node: NodeId) -> None:
        """Put the configuration and the authkey of a member on this machine, unless it has a configuration."""
        if CONFIG in self._hosts[node].storage.files:
            return
        having = [host for host in self._hosts.values() if node in votes_in(self._recipe.text_of(host.storage.files))]
        if having:
            newest = max(having, key=lambda host: (self._recipe.version_of(host.storage.files), -host.me))
            self._copy(newest.storage.files, node)

    def healed(self) -> None:
        """All faults are over. What nobody learned the end of may come in force from now on, as all are back: then who
        is added by it is switched on."""
        self._healed = True

    def _copy(self, source: dict[str, bytes], node: NodeId) -> None:
        files = self._hosts[node].storage.files
        files[CONFIG] = self._recipe.text_of(source)
        files[AUTHKEY] = self._recipe.authkey_of(source)
        files.pop(KEYRING, None)
        files.pop(REMOVALS, None)

    def _someone(self, but: NodeId = 0) -> Host | None:
        """A listed node to work at, mostly a quorate one."""
        here = [self._hosts[n] for n in self.listed() if n != but and self._hosts[n].can_connect()]
        able = [host for host in here if host.node is not None and host.node.quorate(host.now())]
        pool = able if able and self._random.random() < 0.9 else here
        return self._random.choice(pool) if pool else None

    def _may_act(self, host: Host, removed: NodeId = 0) -> bool:
        """A careful one waits until all nodes are in one ring, also as the others see it, and what was asked for before
        is answered: parted in between, each side would do what it has. Who is to be removed may be away."""
        if not self._recipe.plan.careful or host.node is None:
            return True
        if host.configured is None or self.minutes.is_something_open():
            return False
        for node in set(votes_in(host.node.changes.config.text)) - {removed}:
            seen = self._hosts[node].configured
            if seen is None or seen.ring_id != host.configured.ring_id or node not in host.configured.members:
                return False
        return True

    # -- what is done ----------------------------------------------------------------------------------------

    def _act(self, action: Action) -> None:
        host = self._someone()
        if host is None or host.node is None or not self._may_act(host):
            return
        self.begun += 1
        self._say(f"administrator at node {host.me}: {action.kind}")
        draft, what = self._draft(host), action.kind
        match what:
            case "rotate":
                self.rotate(host)
            case "two-rotations":
                other = self._someone(but=host.me)
                for one in (host, other):
                    if one is not None:
                        self.rotate(one)
            case "two-changes":
                other = host if self._recipe.plan.careful else self._someone(but=host.me)
                self._edit("token", draft, host)
                self._propose(host, draft, what)
                if other is not None and other.node is not None:
                    draft = self._draft(other)
                    self._edit("priority", draft, other)
                    self._propose(other, draft, what)
            case "wrong":
                self._edit(
                    self._random.choice(("wrong-address", "wrong-quorum", "wrong-value", "wrong-name")), draft, host
                )
                self._propose(host, draft, what)
            case "wrong-elsewhere":
                self._wrong_elsewhere(host, draft)
            case "stale":
                draft.version -= self._random.choice((1, 1, 2))
                self._propose(host, draft, what)
            case "set-expected" | "set-votes" | "cancel-wait":
                self._request(host, what)
            case "add":
                self._add(host, draft)
            case actions.RESHAPE:
                self._reshape(host, draft)
            case "remove" | "rejoin":
                self._remove(host, draft, comes_back=what == "rejoin")
            case _:
                self._edit(what, draft, host)
                self._propose(host, draft, what)
        if action.crash:
            self._clock.after(action.crash, self._crash)

    def _crash(self) -> None:
        running = [host for node, host in sorted(self._hosts.items()) if host.node is not None]
        if running:
            host = self._random.choice(running)
            host.kill(power=self._recipe.plan.settings.durability == "disk")
            self._clock.after(self._random.uniform(0.05, 1.0), host.start)

    def _draft(self, host: Host) -> Draft:
        assert host.node is not None
        self._numbers += 1
        draft = Draft(host.node.changes.config.text, self._numbers)
        draft.version += 1
        return draft

    def _edit(self, what: str, draft: Draft, host: Host) -> None:
        edit(what, draft, host.me, self._recipe.plan.settings.token, self._random)

    def _wrong_elsewhere(self, host: Host, draft: Draft) -> None:
        """An address that is fine for everybody but the machine that is to have it.

        One that is in the ring: without it the change would come into force, and nobody could promise that it is back
        when all else is well again (L1).
        """
        members = host.configured.members if host.configured is not None else ()
        here = [node for node in sorted(draft.nodes) if node != host.me and node in members]
        if not here:
            return
        node, link = self._random.choice(here), self._random.choice(draft.links)
        draft.nodes[node].set(f"ring{link}_addr", address_of(node + (FOREIGN << 8), link)[0])
        change = self._propose(host, draft, ELSEWHERE)
        change.cannot = self.minutes.cannot[change.body] = node

    def _add(self, host: Host, draft: Draft) -> None:
        out = [node for node in sorted(self._hosts) if node not in draft.nodes]
        if not out:
            return
        node = self._random.choice(out)
        draft.add(node, self._recipe.identity(node), {link: address_of(node, link)[0] for link in draft.links})
        expect_all(draft)
        self._propose(host, draft, "add", lambda: self._join(host, node))

    def _join(self, host: Host, node: NodeId) -> None:
        """The new machine gets its files from the member where it was added, and is switched on."""
        machine = self._hosts[node]
        running = host.node
        if running is None:
            return
        machine.kill()
        files = {CONFIG: running.changes.config.text, AUTHKEY: running.endpoint.security.current_key.secret}
        self._copy(files, node)
        self._clock.after(self._random.uniform(0.0, 0.5), machine.start)

    def _join_all(self, host: Host, nodes: list[NodeId]) -> None:
        for node in nodes:
            self._join(host, node)

    def _remove(self, host: Host, draft: Draft, comes_back: bool) -> None:
        others = [node for node in sorted(draft.nodes) if node != host.me]
        if len(others) < 2:
            return
        node = self._random.choice(others)
        draft.remove(node)
        draft.quorum.set("expected_votes", None)
        if self._random.random() < 0.5:
            self._say(f"node {node} is switched off to be removed")
            self._hosts[node].kill()
            if self._random.random() < 0.6:  # and powers on again later: it must stay out, harmlessly
                later = self._random.uniform(2.0, 4.0)
                if self._hosts[node].process is not None:  # or it was added, and has no files of this cluster yet
                    self._clock.after(later, self._hosts[node].start)
            self._clock.after(self._random.uniform(0.0, 1.5), self._remove_now, host, node, comes_back)
            return
        self._propose(host, draft, "remove", (lambda: self._again(node)) if comes_back else None)

    def _remove_now(self, host: Host, node: NodeId, comes_back: bool) -> None:
        if not host.can_connect() or host.node is None or not self._may_act(host, removed=node):
            return
        draft = self._draft(host)
        if node in draft.nodes and len(draft.nodes) > 2:
            draft.remove(node)
            draft.quorum.set("expected_votes", None)
            self._propose(host, draft, "remove", (lambda: self._again(node)) if comes_back else None)

    def _reshape(self, host: Host, draft: Draft) -> None:
        """Two or three nodes come or go in one change; two at least stay."""
        random = self._random
        others = [node for node in sorted(draft.nodes) if node != host.me]
        away = [node for node in others if not self._hosts[node].can_connect()]
        out = [node for node in sorted(self._hosts) if node not in draft.nodes]
        gone = random.sample(away if len(away) > 1 else others, min(random.randint(0, 2), len(others) - 1))
        added = random.sample(out, min(random.randint(0 if len(gone) > 1 else 2 - len(gone), 2), len(out)))
        for node in gone:
            draft.remove(node)
        for node in added:
            draft.add(node, self._recipe.identity(node), {link: address_of(node, link)[0] for link in draft.links})
        draft.quorum.set("expected_votes", None)
        self._propose(host, draft, actions.RESHAPE, lambda: self._join_all(host, added))

    def _again(self, node: NodeId) -> None:
        self._clock.after(self._random.choice((0.0, 0.02, 0.3, 1.0)), self._add_again, node)

    def _add_again(self, node: NodeId) -> None:
        host = self._someone(but=node)
        if host is None or not self._may_act(host):
            return
        draft = self._draft(host)
        if node not in draft.nodes:
            draft.add(node, self._recipe.identity(node), {link: address_of(node, link)[0] for link in draft.links})
            expect_all(draft)
            self._propose(host, draft, "add", lambda: self._join(host, node))

    def _request(self, host: Host, what: str, value: int = -1) -> None:
        """value: of expected votes; any, where there is none."""
        random, change = self._random, self.minutes.begin(host, what)
        members = sorted(votes_in(self.text()))

        def act(node: Node) -> None:
            try:
                if what == "set-expected":
                    node.set_expected(value if value >= 0 else random.randint(1, len(members) + 1), host.now())
                elif what == "set-votes":
                    node.votequorum.set_votes(random.choice(members), random.randint(0, 3))
                else:
                    node.votequorum.cancel_wait_for_all()
                node.pump(host.now())
            except ClusterError as error:
                self.minutes.end(change, REFUSED, str(error))
            else:
                self.minutes.end(change, DONE)

        host.do(act)

    def end_override(self) -> None:
        """Votes set by hand may stay fewer than all that are waited for, or than were needed when there were more: a
        node forgets what was set when it restarts. Then whoever set them ends the waiting, and says how many there
        are."""
        views = [(self._hosts[node], running.votequorum.view()) for node, running in self._listed_running()]
        for host, view in views:
            if view.waiting_for_all:
                self._request(host, "cancel-wait")
                break
        for host, view in views:
            if 0 < view.verdict.total < view.verdict.quorum:
                self._request(host, "set-expected", view.verdict.total)
                break

    def _listed_running(self) -> list[tuple[NodeId, Node]]:
        running = ((node, self._hosts[node].node) for node in self.listed())
        return [(node, one) for node, one in running if one is not None]

    def rotate(self, host: Host) -> Change:
        change = self.minutes.begin(host, "rotate")

        def act(node: Node) -> None:
            try:
                change_id = node.rotate_key(host.now())
            except ClusterError as error:
                self.minutes.end(change, REFUSED, str(error))
            else:
                self.minutes.asked(change_id, change)

        host.do(act)
        return change

    def change_nothing(self, host: Host) -> Change:
        """A new version of the same."""
        return self._propose(host, self._draft(host), "nothing")

    def take_out(self, host: Host, *nodes: NodeId) -> Change:
        """Remove `nodes` from the list in one change, at `host`."""
        draft = self._draft(host)
        for node in nodes:
            draft.remove(node)
        return self._propose(host, draft, "remove")

    def bring_in(self, host: Host, node: NodeId) -> Change:
        """List `node` at `host`; once that is in force, it gets its files and is switched on."""
        draft = self._draft(host)
        draft.add(node, self._recipe.identity(node), {link: address_of(node, link)[0] for link in draft.links})
        return self._propose(host, draft, "add", lambda: self._join(host, node))

    def calm(self) -> None:
        """Everything has healed: a change and a rotation must go through, and disturb nobody."""
        host = self._hosts[self._random.choice(self.listed())]
        self._calm = [self.change_nothing(host)]
        self._rings = self._present_rings()
        self._clock.after(0.6, self._calm_rotation)

    def _calm_rotation(self) -> None:
        host = self._hosts[self._random.choice(self.listed())]
        node = host.node
        waits = node is None or node.changes.old_keys or node.rotation.due
        if not waits and all(change.outcome == DONE for change in self._calm):
            self._calm.append(self.rotate(host))

    def check_calm(self, now: float) -> None:
        """Raises Violation."""
        administration.check_calm(now, self._calm, self._rings, self._present_rings())

    def _present_rings(self) -> dict[NodeId, RingId]:
        return {node: running.endpoint.srp.ring_id for node, running in self._listed_running()}

    def _propose(self, host: Host, draft: Draft, what: str, then: Callable[[], None] | None = None) -> Change:
        change = self.minutes.begin(host, what)
        change.body, change.then = draft.text(), then

        def act(node: Node) -> None:
            try:
                change_id = node.change_config(change.body, host.now())
            except ClusterError as error:
                self.minutes.end(change, REFUSED, str(error))
            else:
                self.minutes.asked(change_id, change)

        host.do(act)
        return change

    def _switch_on_added(self, host: Host, text: bytes) -> None:
        """By a change that nobody waits for the end of any more. Also who was a node once, was removed, and runs with
        what it had then."""
        if not self._healed or self.minutes.waits_for(text):
            return
        before, version = votes_in(self.minutes.text_at(host.me)), self._recipe.version_of({CONFIG: text})
        for node in sorted(votes_in(text)):
            older = self._recipe.version_of(self._hosts[node].storage.files) < version
            if node not in before and older and node not in self._switched_on:
                self._switched_on.add(node)
                self._join(host, node)


def links_of(recipe: Recipe) -> list[LinkId]:
    """Every link that a configuration of this run may have: one more than at the start."""
    links = Draft(recipe.text, 0).links
    return [*links, *[k for k in range(8) if k not in links][:1]]
