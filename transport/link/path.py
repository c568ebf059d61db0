"""One path (a link to a peer): up or down from pings and pongs, its remote address, its figures.

Source: DESIGN 6; facts/knet.md section 4 (what to keep) and section 16 points 2, 4, 7 (what to do better).
Times are seconds on the caller's clock. A path is up only when both directions work:

    up    pong_count pongs in a row arrived, and the peer's latest ping says that it hears us
    down  the oldest ping not followed by an answer is ping_timeout old, or the peer says it no longer hears us,
          or our host says the way is gone, or the peer's host refused, and refused the ping sent to see about it

A pong counts only for a ping of ours that is on its way, sent at most ping_timeout ago by our own stamp: answers read
late by a process that was stopped prove nothing. Refusals are not authentic, hence the ping: while the peer answers,
whoever forges them achieves nothing.
A path that flapped must stay up for a growing time before traffic switches back to it (`settled_at`).
"""

from __future__ import annotations

import math

from transport.config import LinkConfig
from transport.link.events import Address
from transport.link.memory import Memory
from transport.link.mtu import PathMtu
from transport.link.packets import Ping
from transport.link.quality import Quality

NEVER = math.inf
_PROBE_EVERY = 0.1  # while the path MTU is in question, pings go at least so often
_SLOW_AFTER, _SLOW_EVERY = 10.0, 0.25  # a path down and silent for so long is pinged only so often
_HOLD_FIRST, _HOLD_MAX, _HOLD_FORGET = 0.5, 5.0, 30.0  # hold-down before traffic returns; forgotten after a long up
_FLIGHT_MAX = 64  # pings on their way, a bound only
_CANDIDATE_TRIES = 10  # pings to an address the peer was seen at
_REFUSED_WAIT = 0.020  # seconds, and four round trips, that a ping sent because of a refusal may take to be answered
_CONFIGURED_EVERY = 10  # while the peer is used at another address, every tenth ping tries the configured one

# A ping on its way: when, where to, and whether it counts for loss and silence (extra pings to try addresses do not).
_Flight = tuple[float, Address, bool]


class Path:
    """State of one path. Methods change it; the caller compares `up` before and after, and `due` is its deadline."""

    __slots__ = (
        "_called_configured",
        "_candidate",
        "_candidate_tries",
        "_doubted_at",
        "_down_at",
        "_flight",
        "_forced",
        "_grace_until",
        "_hold",
        "_last_main",
        "_next_ping",
        "_next_probe",
        "_phase",
        "_pings",
        "_refused_at",
        "_refused_pinged",
        "_refused_reason",
        "_row",
        "_row_start",
        "_silent_since",
        "address",
        "answered",
        "configured",
        "disabled",
        "heard_at",
        "link",
        "memory",
        "mtu",
        "name",
        "peer_hears",
        "quality",
        "reason",
        "refused_down",
        "remembered",
        "rx_bytes",
        "rx_packets",
        "settled_at",
        "since",
        "standby",
        "timing",
        "tx_bytes",
        "tx_packets",
        "up",
    )

    def __init__(
        self, name: str, timing: LinkConfig, address: Address, cap: int, first_id: int, phase: float, now: float
    ) -> None:
        """name: the peer's, for sentences. first_id: random. phase: 0..1, one for all paths: they tick together."""
        self.name = name
        self.link = timing.link
        self.timing = timing
        self.configured = self.address = address
        self.mtu = PathMtu(address, cap)
        self.quality = Quality()
        self.up = False
        self.since = now
        self.reason: str | None = "not answered yet"
        self.refused_down = False  # the last down was by a refusal
        self.disabled: str | None = None  # why this node cannot use the link at all
        self.settled_at = now
        self.standby = False  # up, but no data goes this way
        self.memory = Memory(first_id)
        self.remembered = False  # the peer told of a ping that this process has not sent yet
        self.answered = -NEVER  # send time of the newest ping that was answered
        self.heard_at = -NEVER  # when the peer's last ping came
        self.peer_hears = False  # what it said
        self.tx_packets = self.rx_packets = self.tx_bytes = self.rx_bytes = 0
        self._phase = phase
        self._next_probe = first_id
        self._flight: dict[int, _Flight] = {}
        self._pings = 0
        self._row = 0  # pongs in a row
        self._row_start = 0  # id of the ping that began it
        self._silent_since: float | None = None  # send time of the oldest ping not followed by an answer
        self._last_main = -NEVER
        self._down_at = NEVER
        self._next_ping = now
        self._forced = False
        self._grace_until = -NEVER
        self._hold = 0.0
        self._refused_at = -NEVER
        self._refused_pinged = False
        self._refused_reason: str | None = None  # the ping was refused too: why to go down unless it is answered
        self._doubted_at = -NEVER  # when an ICMP message last made us look at the path MTU
        self._candidate: Address | None = None
        self._candidate_tries = 0
        self._called_configured = True

    # ---- time

    @property
    def due(self) -> float:
        """When `tick` must be called next."""
        return self._next_ping if self._next_ping < self._down_at else self._down_at

    def tick(self, now: float) -> list[Address]:
        """Judge what is overdue, and say where pings go now; the caller calls `ping` for each when it sends it."""
        if self.disabled is not None:
            return []
        self._expire(now)
        if now >= self._down_at:
            refused = self._refused_reason
            self._go_down(refused or self._silence(now), now)
            self.refused_down = refused is not None
        if now < self._next_ping:
            return []
        busy = self.mtu.busy(now)
        if not self._forced and self._spare(now, busy):
            self._next_ping = self._grid(now, busy)
            return []
        return self._targets(now, busy)

    def _targets(self, now: float, busy: bool) -> list[Address]:
        self._next_ping = self._grid(now, busy)
        self._forced = False
        self._pings += 1
        targets = [self.address]
        if self._candidate is not None:
            if self._candidate not in targets:
                targets.append(self._candidate)
            self._candidate_tries -= 1
            if self._candidate_tries <= 0:
                self._candidate = None
        retry = self._pings % (_CONFIGURED_EVERY if self.up else 2) == 0
        if retry and self.configured not in targets:
            targets.append(self.configured)
        return targets

    def _spare(self, now: float, busy: bool) -> bool:
        """Skip this tick: a path in reserve is pinged half as often, as long as it answers."""
        if not self.up or not self.standby or busy or self._silent_since is not None:
            return False
        return now - self._last_main < 1.5 * self.timing.ping_interval

    def _grid(self, now: float, busy: bool = False) -> float:
        """The next tick: all paths with one interval tick together, so that a node wakes once for all."""
        interval = self.timing.ping_interval
        if busy:
            interval = min(interval, _PROBE_EVERY)
        elif not self.up and now - self.since > _SLOW_AFTER and not self.hears(now):
            interval = max(interval, _SLOW_EVERY)
        offset = self._phase * interval
        due = (math.floor((now - offset) / interval) + 1) * interval + offset
        return due if due - now >= interval / 4 else due + interval

    def hurry(self, now: float) -> None:
        """Ping at once, also a path in reserve."""
        if self.disabled is None:
            self._next_ping = now
            self._forced = True

    def stalled(self, now: float) -> None:
        """This process did not run for a while: pings from before prove nothing, neither way; ask anew at once."""
        self._flight = {number: sent for number, sent in self._flight.items() if not sent[2]}
        self._silent_since = None
        self._refused_reason = None
        self._down_at = NEVER
        self._grace_until = now + self.timing.ping_timeout
        self.hurry(now)

    # ---- pings

    def hears(self, now: float) -> bool:
        """We hear the peer on this link: its last ping is younger than two intervals and the timeout."""
        return now - self.heard_at <= self.timing.ping_timeout + 2 * self.timing.ping_interval

    def ping(self, address: Address, now: float) -> Ping:
        """Make a ping that goes to `address` now, and keep its stamp."""
        main = address == self.address
        number = self.memory.next_id()
        self._flight[number] = (now, address, main)
        if len(self._flight) > _FLIGHT_MAX:
            del self._flight[next(iter(self._flight))]
        if main:
            if self._silent_since is None:
                timeout, interval = self.timing.ping_timeout, self.timing.ping_interval
                slack = min(max(now - self._last_main - interval, 0.0), interval, timeout / 2)
                self._silent_since = now
                self._down_at = now + timeout - slack if self.up else NEVER
            self._last_main = now
            self._refused_pinged = self._refused_at > -NEVER
        return Ping(number, self.hears(now), tells=True)

    def call_at(self) -> Address:
        """Where the next handshake goes: as pings do, to the configured address in turn while the path is down.

        Who has no session with us answers no ping, so nobody would ever be found there by pings alone.
        """
        if self.up or self.configured == self.address:
            return self.address
        self._called_configured = not self._called_configured
        return self.configured if self._called_configured else self.address

    def take_id(self) -> int:
        """The next number for a probe of this path."""
        number = self._next_probe
        self._next_probe = (number + 1) & 0xFFFFFFFFFFFFFFFF
        return number

    def _expire(self, now: float) -> None:
        limit = now - self.timing.ping_timeout
        while self._flight:
            number, (sent_at, _, main) = next(iter(self._flight.items()))
            if sent_at >= limit:
                return
            del self._flight[number]
            if main:
                self._unanswered(sent_at)
                if number > self._row_start:
                    self._row = 0

    def _unanswered(self, sent_at: float) -> None:
        if not self.up or sent_at >= self.since:  # else it went to a peer that was not there yet
            self.quality.lost()

    # ---- what comes back

    def pinged(self, ping: Ping, source: Address, now: float) -> None:
        """An authentic ping of the peer came from `source`."""
        self.heard_at = now
        self.peer_hears = ping.hears
        if ping.tells and self.memory.heard(ping.id):
            self.remembered = True
        if self.disabled is not None:
            return
        quiet = now - self.answered - 2 * self.timing.ping_interval  # above 0: answers are missing
        if source != self.address and (quiet > 0 or self.address != self.configured):
            if source != self._candidate:
                self._candidate = source
                self.hurry(now)
            self._candidate_tries = _CANDIDATE_TRIES
        if self.up:
            if not ping.hears and quiet > self.timing.ping_timeout / 2 and now >= self._grace_until:
                self._go_down(self._deaf(), now)
            return
        self.refused_down = False
        if not ping.hears and self._row == 0:
            self.reason = self._deaf()
        if now - self._last_main > self.timing.ping_interval / 2:
            self.hurry(now)
        self._try_up(now)

    def ponged(self, number: int, now: float) -> float | None:
        """An authentic pong for ping `number`: our send time of it, or None when it proves nothing."""
        sent = self._flight.pop(number, None)
        if sent is None or self.disabled is not None:
            return None
        sent_at, address, main = sent
        if now - sent_at > self.timing.ping_timeout:
            if main:
                self._unanswered(sent_at)
                self._row = 0
            return None
        if address != self.address:
            self._move(address)
            main = True
        if main:
            self.quality.answered(now - sent_at)
            self.answered = max(self.answered, sent_at)
            if self._row == 0:
                self._row_start = number
            self._row += 1
            self._silent_since = next((s for n, (s, _, m) in self._flight.items() if m and s > self.answered), None)
            self._down_at = NEVER
            if self.up and self._silent_since is not None:
                self._down_at = self._silent_since + self.timing.ping_timeout
            if sent_at >= self._refused_at:
                self._refused_reason = None
        self._try_up(now)
        return sent_at

    def _move(self, address: Address) -> None:
        """The peer answers at another address: everything goes there now."""
        self.address = address
        self._candidate = None
        self._flight = {n: (s, a, a == address) for n, (s, a, _) in self._flight.items()}
        self._silent_since = None
        self.mtu.set_address(address)

    def refused(self, reason: str, sure: bool, now: float) -> bool:
        """The socket says that the peer's address refuses or cannot be reached. True when that is news.

        sure: our own kernel knows (no route). Else it came as ICMP, which anybody can forge: a ping decides.
        """
        if self.disabled is not None:
            return False
        if not self.up:
            self.reason = reason
            self.refused_down = True
            return False
        if sure:
            self._go_down(reason, now)
            self.refused_down = True
            self._flight.clear()
            return False
        wait = _REFUSED_WAIT + 4 * (self.quality.latency or 0.0)
        if now - self._refused_at > wait:  # not more often, or who forges them makes us flood
            self._refused_at = now
            self._refused_pinged = False
            self.hurry(now)
            return True
        if self._refused_pinged and self.answered < self._refused_at:
            self._refused_reason = reason
            self._down_at = min(self._down_at, self._last_main + wait)
        return False

    def too_big(self, limit: int, sure: bool, now: float) -> None:
        """IP packets above `limit` bytes do not pass, says our own kernel (sure), or an ICMP message: then we look.

        Not more often than a path MTU is probed anyway: forged ones must not make us flood.
        """
        if not sure:
            if now - self._doubted_at < _PROBE_EVERY:
                return
            self._doubted_at = now
        self.mtu.too_big(limit, sure)
        if self.up:
            self.hurry(now)

    def sent_large(self, size: int, now: float) -> bool:
        """A datagram went out on this path that is larger than `mtu.plain`. True when `due` is now."""
        if not self.mtu.sent(size) or self.timing.ping_interval <= _PROBE_EVERY or not self.up:
            return False
        self.hurry(now)  # pings are rarer than a confirmation of the path MTU has to be
        return True

    def probes(self, now: float) -> list[int]:
        """IP packet sizes to probe beside the ping that goes out now; may lower the path MTU first."""
        if not self.up:
            return []
        wait = max(0.9 * min(self.timing.ping_interval, _PROBE_EVERY), 3 * (self.quality.latency or 0.0))
        return self.mtu.wanted(now, min(wait, self.timing.ping_timeout), self.answered)

    # ---- up and down

    def _try_up(self, now: float) -> None:
        if self.up or self._row < self.timing.pong_count or not (self.peer_hears and self.hears(now)):
            return
        self.up = True
        self.since = now
        self.quality.forget_losses()
        self.reason = None
        self.refused_down = False
        self.settled_at = now + self._hold
        self._refused_at = -NEVER
        if self._silent_since is not None:
            self._down_at = self._silent_since + self.timing.ping_timeout
        self.mtu.start()

    def _go_down(self, reason: str, now: float) -> None:
        if not self.up:
            return
        if now - self.settled_at > _HOLD_FORGET:
            self._hold = 0.0
        self._hold = min(_HOLD_MAX, max(_HOLD_FIRST, 2 * self._hold))
        self.up = False
        self.since = now
        self.reason = reason
        self.refused_down = False
        self.standby = False
        self._row = 0
        self._down_at = NEVER
        self._refused_at = -NEVER
        self._refused_reason = None
        self.mtu.stop()
        self.hurry(now)

    def _deaf(self) -> str:
        return f"{self.name} does not hear us on link {self.link}"

    def _silence(self, now: float) -> str:
        if self.hears(now):
            return self._deaf() if not self.peer_hears else f"no answer for {self.timing.ping_timeout:.2g} s"
        return f"nothing heard for {now - self.heard_at:.2g} s"

    # ---- changes of configuration

    def disable(self, reason: str | None, now: float) -> None:
        """This node cannot use the link (reason), or can again (None)."""
        if reason == self.disabled:
            return
        if reason is None:
            self.disabled = None
            self.reason = "not answered yet"
            self.since = now
            self.hurry(now)
            return
        self._go_down(reason, now)
        self.disabled = self.reason = reason
        self.since = now
        self._flight.clear()
        self._next_ping = NEVER

    def configure(self, name: str, timing: LinkConfig, address: Address, cap: int, now: float) -> None:
        """New settings, live; a new address is tried at once and used as soon as it answers."""
        self.name = name
        if timing.ping_interval != self.timing.ping_interval:
            self.hurry(now)
        self.timing = timing
        self.mtu.set_cap(cap)
        if address != self.configured:
            self.configured = address
            if not self.up:
                self._move(address)
            else:
                self._candidate = address
                self._candidate_tries = _CANDIDATE_TRIES
            self.hurry(now)
