"""What the configuration file of one run says, drawn from its seed: quorum, timing, links, durability.

A combination the product refuses is never drawn: the product's own `check` is asked. Two draws are left out because no
healthy cluster could become quorate by them: expected votes that all nodes together do not pass, and wait_for_all with
more votes expected than there are.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from random import Random

from quorum.options import QuorumOptions, check
from transport.ids import LinkId, NodeId

TOKEN_MS = 600  # the product's default
_QUORUM = {
    "wait_for_all": 4,
    "last_man_standing": 4,
    "auto_tie_breaker": 4,
    "allow_downscale": 3,
    "expected_votes_tracking": 2,
    "expected_votes": 2,
    "device": 3,
    "two_node": 2,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """token: seconds.  totem, pings: keys of that section, and of each link's interface, beside what every run has.

    priorities: of the links; empty: none is given, and no pings either.
    """

    quorum: QuorumOptions
    token: float
    link_mode: str
    durability: str
    totem: dict[str, int] = field(hash=False)
    pings: dict[str, int] = field(hash=False)
    priorities: dict[LinkId, int] = field(hash=False)

    @property
    def votes_needed(self) -> int:
        """Q1: no component of nodes with fewer votes is ever quorate, by votequorum's rules as docs/quorum.md has them.

        More than half of all votes, unless an option lowers it. 0: a device may have enough for a node without any.
        """
        q = self.quorum
        expected = q.configured_expected
        needed = expected // 2 if q.auto_tie_breaker else expected // 2 + 1 - q.votes_of_device
        if q.last_man_standing:
            needed = min(needed, 1 if q.auto_tie_breaker else 2)
        least = 0 if q.device else 1
        return 1 if q.two_node else least if q.master_wins else max(least, needed)

    @property
    def may_be_narrow(self) -> bool:
        """By some rule fewer than a data majority of the nodes may be quorate."""
        q = self.quorum
        return bool(q.two_node or q.auto_tie_breaker or q.device or q.configured_expected < sum(q.votes.values()))

    @property
    def one_component(self) -> bool:
        """Q1 is promised: at no moment are two components quorate. A device that votes for one partition keeps it."""
        q = self.quorum
        votes, device = sum(q.votes.values()), q.votes_of_device
        return not q.master_wins and 2 * (self.votes_needed + device) > votes + device and not q.auto_tie_breaker

    @property
    def count_alike(self) -> bool:
        """All members of a ring come to the same numbers: no option lets a node's own past decide."""
        q = self.quorum
        by_its_past = q.waits_for_all or q.last_man_standing or q.auto_tie_breaker or q.device
        learns = q.allow_downscale or q.expected_votes_tracking or q.configured_expected < sum(q.votes.values())
        return not by_its_past and not learns

    @property
    def slowness(self) -> float:
        """How many times longer than by default a failure takes to be noticed; at least 1."""
        return max(1.0, self.token * 1000 / TOKEN_MS)

    def text(self, mtu: int) -> str:
        """The sections totem, quorum and store of the file. mtu: of the links, in bytes."""
        interfaces = "".join(
            f"  interface {{\n    linknumber: {link}\n"
            + (f"    knet_link_priority: {self.priorities[link]}\n" if link in self.priorities else "")
            + "".join(f"    {name}: {value}\n" for name, value in self.pings.items())
            + "  }\n"
            for link in sorted(self.priorities)
        )
        lines = {"token": round(self.token * 1000), "link_mode": self.link_mode, "netmtu": mtu, **self.totem}
        totem = "".join(f"  {name}: {value}\n" for name, value in lines.items()) + interfaces
        quorum = "".join(f"  {name}: {value}\n" for name, value in quorum_keys(self.quorum).items())
        quorum += _device(self.quorum)
        store = "" if self.durability == "disk" else f"store {{\n  durability: {self.durability}\n}}\n"
        head = "totem {\n  version: 2\n  cluster_name: sim\n  config_version: 1\n"
        return f"{head}{totem}}}\nquorum {{\n  provider: corosync_votequorum\n{quorum}}}\n{store}"

    def __str__(self) -> str:
        quorum = ", ".join(f"{name} {value}" for name, value in quorum_keys(self.quorum).items()) or "plain quorum"
        if self.quorum.device:
            quorum += f", device {self.quorum.votes_of_device}{' master_wins' * self.quorum.master_wins}"
        times = {**({"token": round(self.token * 1000)} if self.token * 1000 != TOKEN_MS else {}), **self.totem}
        times |= self.pings
        parts = [self.link_mode, quorum, *(f"{name} {value}" for name, value in times.items())]
        if len(set(self.priorities.values())) > 1:
            parts.append(f"priorities {list(self.priorities.values())}")
        if self.durability != "disk":
            parts.append(f"durability {self.durability}")
        return ", ".join(parts)


def quorum_keys(options: QuorumOptions) -> dict[str, object]:
    """The keys of the quorum section that say `options`; the device has a section of its own."""
    keys: dict[str, object] = {}
    if options.expected_votes:
        keys["expected_votes"] = options.expected_votes
    if options.wait_for_all is not None:
        keys["wait_for_all"] = int(options.wait_for_all)
    for name in ("two_node", "last_man_standing", "allow_downscale", "expected_votes_tracking"):
        if getattr(options, name):
            keys[name] = 1
    if options.last_man_standing:
        keys["last_man_standing_window"] = round(options.last_man_standing_window * 1000)
    if options.auto_tie_breaker:
        keys["auto_tie_breaker"] = 1
        breaker = options.auto_tie_breaker
        keys["auto_tie_breaker_node"] = breaker if isinstance(breaker, str) else " ".join(map(str, breaker))
    return keys


def _device(options: QuorumOptions) -> str:
    if not options.device:
        return ""
    times = f"timeout: {round(options.device_timeout * 1000)}\n    sync_timeout: "
    times += f"{round(options.device_sync_timeout * 1000)}\n    master_wins: {int(options.master_wins)}"
    votes = f"votes: {options.device_votes}\n    " if options.device_votes is not None else ""
    return f"  device {{\n    model: net\n    {votes}{times}\n  }}\n"


def draw_quorum(random: Random, votes: dict[NodeId, int]) -> QuorumOptions:
    """Plain, or one to three options together, as far as the configuration accepts them and they can become quorate."""
    plain = QuorumOptions(votes=votes)
    if random.random() < 0.4:
        return plain
    if len(votes) == 2 and random.random() < 0.5:
        return QuorumOptions(votes=votes, two_node=True, wait_for_all=random.choice((None, None, True, False)))
    while True:
        kinds = list(_QUORUM)
        weights = [_QUORUM[kind] for kind in kinds]
        drawn = set(random.choices(kinds, weights, k=random.choice((1, 1, 2, 3))))
        made = _options(random, votes, drawn)
        if not check(made) and possible(made):
            return made


def _options(random: Random, votes: dict[NodeId, int], drawn: set[str]) -> QuorumOptions:
    total = sum(votes.values())
    device_votes = random.choice((1, max(1, len(votes) - 1))) if "device" in drawn else None
    whole = total + (device_votes or 0)
    expected = 0
    if drawn & {"expected_votes", "allow_downscale"}:
        expected = random.randint(max(1, whole // 2), whole + (1 if "expected_votes" in drawn else 0))
    order = random.sample(sorted(votes), random.randint(1, len(votes)))
    return QuorumOptions(
        votes=votes,
        expected_votes=expected,
        two_node="two_node" in drawn,
        wait_for_all=True if "wait_for_all" in drawn else None,
        last_man_standing="last_man_standing" in drawn,
        last_man_standing_window=random.choice((0.5, 1.0, 2.0)),
        auto_tie_breaker=random.choice(("lowest", "highest", tuple(order))) if "auto_tie_breaker" in drawn else "",
        allow_downscale="allow_downscale" in drawn,
        expected_votes_tracking="expected_votes_tracking" in drawn,
        device="device" in drawn,
        device_votes=device_votes,
        device_timeout=1.0,
        device_sync_timeout=1.0,
        master_wins="device" in drawn and random.random() < 0.3,
    )


def rarer(random: Random, options: QuorumOptions) -> QuorumOptions:
    """The same, now and then with what few configurations say: wait_for_all switched off in so many words, a device
    without `votes`, or one that is not waited for as long."""
    made = options
    if random.random() < 0.08 and not options.waits_for_all:
        made = replace(made, wait_for_all=False)
    if options.device:
        if random.random() < 0.3:
            made = replace(made, device_votes=None)
        made = replace(made, device_sync_timeout=random.choice((0.3, 1.0, 1.0)))
    return options if check(made) or not possible(made) else made


def possible(options: QuorumOptions) -> bool:
    """Would all nodes together, with the device, be quorate?"""
    whole = sum(options.votes.values()) + options.votes_of_device
    expected = options.configured_expected
    return expected // 2 + 1 <= whole and (expected <= whole or not options.waits_for_all)


def draw(random: Random, rare: Random, votes: dict[NodeId, int], links: tuple[LinkId, ...]) -> Settings:
    """Everything the file says that may differ between runs. rare: draws what few of them say."""
    quorum = rarer(rare, draw_quorum(random, votes))
    token = TOKEN_MS
    totem: dict[str, int] = {}
    pings: dict[str, int] = {}
    if random.random() < 0.3:
        token = random.choice((300, 450, 1000, 1500) if len(votes) < 10 else (1000, 1500))
    if random.random() < 0.25:
        chosen = random.sample(("join", "merge", "consensus", "resends", "hold", "windows"), 2)
        if "join" in chosen:
            totem["join"] = random.choice((30, 75, 100))
        if "merge" in chosen:
            totem["merge"] = random.choice((100, 300, 400))
        if "consensus" in chosen:
            totem["consensus"] = round(token * random.choice((1.0, 1.5)))
        if "resends" in chosen:
            totem["token_retransmits_before_loss_const"] = random.choice((3, 6, 10))
        if "hold" in chosen:
            totem["hold"] = random.randint(14, token // 8)
        if "windows" in chosen:
            totem |= {"window_size": random.choice((20, 50, 300)), "max_messages": random.choice((5, 17, 60))}
    priorities: dict[LinkId, int] = {}
    if random.random() < 0.3:
        priorities = {link: random.choice((0, 1, 1, 5, 255)) for link in links}
        if random.random() < 0.5:
            timeout = round(token * random.choice((0.4, 0.5, 0.75)))
            pings = {"knet_ping_timeout": timeout, "knet_ping_interval": timeout // random.choice((3, 4))}
            pings["knet_pong_count"] = random.choice((1, 2, 3))
    return Settings(
        quorum=quorum,
        token=token / 1000,
        link_mode=random.choice(("passive", "passive", "passive", "active", "rr")) if len(links) > 1 else "passive",
        durability="memory" if random.random() < 0.06 else "disk",
        totem=totem,
        pings=pings,
        priorities=priorities,
    )
