"""The words in which a story is told: a cluster, what befalls it, and what must be true then.

    s = story(4)
    s.formed(); s.split([1, 2], [3, 4]); s.run(2.0)
    assert s.quorate() == set()
    s.refused(1, "x"); s.heal(); s.converges()

Words that do something change the world; words that ask (questions.py) answer with plain values for `assert`; words in
the past tense (formed, acked, refused) do both, and raise Violation where what they say did not come true. When the
story has been told, the world heals, all must converge, and every checker of the simulator judges the whole of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from cfs.messages import Kind, Operation
from clusterd.node import Node
from tests.sim.build import CONFIG, FOREIGN
from tests.sim.checkers.changes import DONE, Change
from tests.sim.generation import Generation
from tests.sim.history import ACKED, FAILED, REFUSED, UNKNOWN, Call
from tests.sim.network import PathKey, address_of
from tests.sim.stories.branches import Crashes, Fork, Stretch, lose_each
from tests.sim.stories.questions import Questions
from tests.sim.stories.stage import Stage
from tests.sim.stories.wire import Message, Rule
from tests.sim.texts import Draft
from transport.errors import ClusterError
from transport.ids import NodeId

STEP = 0.005  # seconds between looks at whether what is waited for has come
PATIENCE = 8.0  # seconds after which it never will


class Play(Questions):
    """One cluster of a story. Nodes are 1 to n; times are virtual seconds."""

    def __init__(self, stage: Stage, fork: Fork) -> None:
        super().__init__(stage)
        self._fork = fork
        self._stretches: list[Stretch] = []
        self._numbers = 0
        self._operations: dict[bytes, Operation] = {}
        self._cut: list[PathKey] = []
        self.converged = False

    # -- what befalls it -------------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        self.stage.clock.run(self.stage.clock.now + seconds)
        self._leave_stretches()

    def until(self, true: Callable[[], bool], what: str, within: float = PATIENCE) -> None:
        """Run until `true()`; a Violation when `what` was waited for in vain."""
        clock = self.stage.clock
        end = clock.now + within
        while not true():
            if clock.now >= end:
                raise self.stage.fail(f"waited {within:g} s for {what}: {self}")
            clock.run(clock.now + STEP)
            self._leave_stretches()

    def _leave_stretches(self) -> None:
        for stretch in self._stretches:
            stretch.check()

    def start(self, *nodes: NodeId) -> None:
        for node in nodes:
            self._host(node).start()

    def kill(self, *nodes: NodeId) -> None:
        """SIGKILL: what was written stays on the disk."""
        for node in nodes:
            self._host(node).kill()

    def power_off(self, *nodes: NodeId) -> None:
        """What was not on the disk is gone."""
        for node in nodes:
            self._host(node).kill(power=True)

    def leave(self, *nodes: NodeId) -> None:
        """A clean stop."""
        for node in nodes:
            self._host(node).leave()

    def split(self, *parts: Iterable[NodeId]) -> None:
        """From now on nodes reach only those of their own part; what held before is healed."""
        self.heal()
        where = {node: number for number, part in enumerate(parts) for node in part}
        assert set(where) >= set(self.stage.plan.nodes), "every node is in one part"
        for key in self.stage.network.paths:
            if where.get(key[0]) != where.get(key[1]):
                self._close(key)

    def cut(self, *ways: tuple[NodeId, NodeId]) -> None:
        """Nothing goes from the first to the second any more, on any link; the other way it does."""
        for key in self.stage.network.paths:
            if key[:2] in ways:
                self._close(key)

    def part(self, a: NodeId, b: NodeId) -> None:
        """Two nodes do not reach each other any more."""
        self.cut((a, b), (b, a))

    def heal(self) -> None:
        """The network is whole again."""
        for key in self._cut:
            self.stage.network.heal(key)
        self._cut.clear()

    def _close(self, key: PathKey) -> None:
        self.stage.network.cut(key)
        self._cut.append(key)

    def lose_disk(self, node: NodeId) -> None:
        """The node dies, and finds a new, empty disk when it starts."""
        host = self._host(node)
        host.kill(power=True)
        host.wipe(keep_marker=False)
        self.stage.history.disk_losses.append((self.stage.clock.now, node))

    def find_disk(self, node: NodeId, saved: Generation | None) -> None:
        """The node dies, and its disk is again the one that `saved_disk` gave."""
        host = self._host(node)
        host.kill(power=True)
        host.storage.restore(saved)

    def saved_disk(self, node: NodeId) -> Generation | None:
        """What is on the disk of a node that is off."""
        return self._host(node).storage.store.backup()

    def fill_disk(self, *nodes: NodeId, full: bool = True) -> None:
        """No space is left there; full=False: there is room again."""
        for node in nodes:
            self._host(node).storage.store.full = full

    def hang_disk(self, *nodes: NodeId, hung: bool = True) -> None:
        """The disk does nothing and answers nothing; hung=False: it goes on."""
        for node in nodes:
            self._host(node).storage.hang(hung)

    def lose(self, matches: Callable[[Message], bool], times: int | None = 1) -> Rule:
        """The network loses the next `times` ring messages that match, and nothing else (tests/sim/stories/wire.py)."""
        return self.stage.wire.drop(matches, times)

    # -- everything that may go wrong ------------------------------------------------------------------------

    def each_loss(self, sample: int, pairs: int = 0) -> Stretch:
        """`with` this: the block is told again and again, each time with another ring message lost, and left then."""
        stretch = self._stretch("messages lost", sample, pairs)
        self.stage.wire.hear.append(lose_each(stretch, self._now))
        return stretch

    def each_crash(self, sample: int, pairs: int = 0) -> Stretch:
        """`with` this: each time some node dies, just before or just after some process was given a message of
        the ring or an answer of its disk."""
        stage = self.stage
        stretch = self._stretch("crashes", sample, pairs)
        crashes = Crashes(
            stretch,
            self._now,
            lambda: [host.me for host in self._up()],
            lambda node, power: self._host(node).kill(power),
            self._soon,
        )
        stage.wire.hear.append(crashes.hear)
        stage.started.append(crashes.tap)
        for host in self._up():
            crashes.tap(host.me, self._running(host.me))
        return stretch

    def _stretch(self, what: str, sample: int, pairs: int) -> Stretch:
        stretch = Stretch(self._fork, str(self.stage.plan.seed), what, sample, pairs)
        self._stretches.append(stretch)
        return stretch

    def _now(self) -> float:
        return self.stage.clock.now

    def _soon(self, action: Callable[[], None]) -> None:
        self.stage.clock.after(0.0, action)

    # -- what an operator does -------------------------------------------------------------------------------

    def expected(self, node: NodeId, votes: int) -> str:
        """`clusterctl expected VOTES` there; why it was refused, "" when it was done."""
        return self._asked(node, lambda running, now: running.set_expected(votes, now))

    def rotate_key(self, node: NodeId) -> None:
        """`clusterctl key rotate` there, until all have the new key."""
        self._changed(self.stage.administrator.rotate(self._host(node)))

    def remove(self, *nodes: NodeId, at: NodeId) -> None:
        """Take `nodes` out of the nodelist at another one, and reload; until that is in force."""
        self._changed(self.stage.administrator.take_out(self._host(at), *nodes))

    def remove_unheard(self, *nodes: NodeId, at: NodeId, by: NodeId) -> str:
        """The same, in force at every member but `by`: it does not hear the last agreement, and then nothing any more.
        Why it was refused, "" when it was not."""
        before = self._running(by).changes.config.config_version
        members = [self._running(node) for node in sorted(self.ring(at))]
        heard = [node for node in members if node.me != by]
        last = heard[-1].me
        self.hang_disk(last)  # it agrees when that is written down
        change = self.stage.administrator.take_out(self._host(at), *nodes)

        def all_but_one() -> bool:
            under_way = self._running(by).reconfigure._change
            return under_way is not None and len(under_way.agreed) == len(members) - 1

        self.until(lambda: change.outcome == REFUSED or all_but_one(), "an end")

        def applied() -> bool:
            return all(node.changes.config.config_version > before for node in heard)

        rule = self.lose(
            lambda m: m.receiver == by and (applied() or (m.kind, m.author) == ("multicast", last)), times=None
        )
        self.hang_disk(last, hung=False)
        if change.outcome != REFUSED:
            self.until(applied, "the last agreement")
        rule.left = 0
        if self._running(by).changes.config.config_version > before:
            raise self.stage.fail(f"node {by} has heard of the change")
        return change.why

    def add(self, node: NodeId, at: NodeId, joins: bool = True) -> None:
        """List a new machine at a member, reload, give it its files and switch it on; until it has joined, or else
        until it is listed everywhere."""
        self._changed(self.stage.administrator.bring_in(self._host(at), node))
        if not joins:
            self.until(lambda: all(node in self._running(h.me).changes.config.votes for h in self._up()), "a new list")
            return
        self.until(lambda: self._host(node).up and node in self.ring(at) and at in self.quorate(), f"node {node}")

    def _changed(self, change: Change) -> None:
        self.until(lambda: change.outcome != "", f"an answer to {change.what}")
        if change.outcome != DONE:
            raise self.stage.fail(f"{change.what} at node {change.node} {change.outcome}: {change.why}")

    def _asked(self, node: NodeId, what: Callable[[Node, float], object]) -> str:
        host, answers = self._host(node), []

        def ask(running: Node) -> None:
            try:
                what(running, host.now())
            except ClusterError as error:
                answers.append(str(error))

        host.do(ask)
        return answers[0] if answers else ""

    def misses_change(self, node: NodeId, key: str, value: str) -> None:
        """All are off. The others' files are of the next version: another value of totem's `key`, and a link more, on
        which `node`, whose file is the old one, has not the address that they say. So it keeps what it has."""
        administrator, links = self.stage.administrator, self.stage.plan.links
        draft = Draft(administrator.text(), 1)
        draft.version += 1
        draft.totem.set(key, value)
        for each, section in draft.nodes.items():
            place = each + (FOREIGN << 8) if each == node else each
            section.set(f"ring{len(links)}_addr", address_of(place, len(links))[0])
        for host in self.stage.hosts.values():
            if host.me in draft.nodes:
                host.storage.files[CONFIG] = administrator.text() if host.me == node else draft.text()

    def give_address(self, node: NodeId) -> None:
        """The machine gets the address that it had not."""
        self.stage.recipe.given.add(node)

    # -- clients ---------------------------------------------------------------------------------------------

    def write(self, node: NodeId, key: str, expected: int | None = None, value: str = "") -> Call:
        """A client at `node` puts a file; expected: only if it has this revision (0: if there is none)."""
        self._numbers += 1
        number, host, history = self._numbers, self._host(node), self.stage.history
        data = (value or f"{number} {key}").encode()
        ident = number.to_bytes(4, "big") + b"-story-" + bytes(5)
        kind, now = "put" if expected is None else "cas", self.stage.clock.now
        call = Call(ident, kind, key, node, host.process_number, -1, now, data, expected, asked=now)
        operation = Operation(ident, Kind.PUT, key, data, condition=expected, writer=node, time=number)
        operation.since = host.socket.log_index()
        self._operations[ident] = operation
        history.calls.append(call)
        host.socket.write(call, operation)
        return call

    def again(self, call: Call, node: NodeId) -> Call:
        """The same client asks the same again, at `node`, under the same id."""
        host = self._host(node)
        call.attempts += 1
        call.node, call.process, call.asked = node, host.process_number, self.stage.clock.now
        call.ended, call.outcome = None, ""
        host.socket.write(call, self._operations[call.id])
        return self.ended(call)

    def ended(self, call: Call) -> Call:
        """Run until the client has its answer."""
        self.until(lambda: call.ended is not None, f"an answer to {call}")
        return call

    def acked(self, node: NodeId, key: str, expected: int | None = None) -> Call:
        """A write that is acknowledged."""
        return self._expect(self.ended(self.write(node, key, expected)), ACKED)

    def conflict(self, node: NodeId, key: str, expected: int) -> Call:
        """A compare-and-set that finds another revision."""
        return self._expect(self.ended(self.write(node, key, expected)), FAILED)

    def refused(self, node: NodeId, key: str) -> Call:
        """A write that is refused at once, without a wait."""
        return self._expect(self.write(node, key), REFUSED)

    def unknown(self, call: Call) -> Call:
        """Run until the client is told that the outcome is unknown."""
        return self._expect(self.ended(call), UNKNOWN)

    def _expect(self, call: Call, outcome: str) -> Call:
        if call.outcome != outcome:
            raise self.stage.fail(f"expected {outcome}: {call} ({self.why_read_only(call.node) or call.code})")
        return call

    # -- what it waits for -----------------------------------------------------------------------------------

    def formed(self, *nodes: NodeId) -> None:
        """Switch these on (none given: all) and run until all that run are one ring, quorate and writable."""
        self.start(*(nodes or self.stage.plan.nodes))
        self.until(self._is_one, "one ring of all, quorate and writable")

    def _is_one(self) -> bool:
        here = {host.me for host in self._up()}
        ready = all(self.ring(n) == here and self.writable(n) and self.state(n) == "synced" for n in here)
        return ready and self.quorate() == here

    def settled(self, *parts: Iterable[NodeId]) -> None:
        """Run until the nodes that run form exactly these rings."""
        wanted = sorted(sorted(part) for part in parts)
        self.until(lambda: sorted(sorted(ring) for ring in self.rings()) == wanted, f"the rings {wanted}")

    def ready(self, *nodes: NodeId) -> None:
        """Run until these take writes."""
        self.until(
            lambda: all(self.writable(n) and self.state(n) == "synced" for n in nodes), f"{nodes} to take writes"
        )

    # -- the end ---------------------------------------------------------------------------------------------

    def converges(self) -> None:
        """Everything heals and whoever was off is switched on: within L1's bounds all are one, and writable."""
        self._cut.clear()
        self.stage.converge(lambda node: self.write(node, f"last{node}"))
        self.converged = True

    def over(self) -> None:
        """The story has been told: converge, if it did not, and let every checker judge it."""
        if not self.converged:
            self.converges()
        self.stage.judge()
