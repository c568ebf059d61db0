"""How good a path is: latency, jitter and loss, from pings answered and pings lost.

Latency is the round trip, smoothed by 1/8 (as TCP's srtt), with the 99th percentile of the last 100 beside it; jitter
is RFC 3550 section 6.4.1 (gain 1/16) over round trips; loss is the share of the last 100 decided pings, counted anew
whenever the path comes up: pings to a node that was not there say nothing about the network to it.
"""

from __future__ import annotations

from collections import deque

_SAMPLES = 100
_MASK = (1 << _SAMPLES) - 1


class Quality:
    """Figures of one path; all seconds are round trips."""

    __slots__ = ("_decided", "_history", "_last", "_rtts", "jitter", "latency")

    def __init__(self) -> None:
        self.latency: float | None = None
        self.jitter: float | None = None
        self._last = 0.0
        self._rtts: deque[float] = deque(maxlen=_SAMPLES)
        self._history = 0  # one bit per decided ping, 1 = lost, the newest lowest
        self._decided = 0

    def answered(self, rtt: float) -> None:
        """A ping was answered after `rtt` seconds."""
        if self.latency is None or self.jitter is None:
            self.latency, self.jitter = rtt, 0.0
        else:
            self.latency += (rtt - self.latency) / 8
            self.jitter += (abs(rtt - self._last) - self.jitter) / 16
        self._last = rtt
        self._rtts.append(rtt)
        self._decide(0)

    def lost(self) -> None:
        """A ping was not answered in time."""
        self._decide(1)

    def forget_losses(self) -> None:
        """The path came up: from here on loss is told of."""
        self._history = self._decided = 0

    def _decide(self, bit: int) -> None:
        self._history = (self._history << 1 | bit) & _MASK
        self._decided = min(_SAMPLES, self._decided + 1)

    @property
    def loss(self) -> float:
        """0..1 over the last 100 decided pings since the path came up (or, never up, since the start); 0 before one."""
        return self._history.bit_count() / self._decided if self._decided else 0.0

    @property
    def p99(self) -> float | None:
        """The 99th percentile of the last 100 round trips, None before the first."""
        if not self._rtts:
            return None
        return sorted(self._rtts)[(len(self._rtts) * 99 - 1) // 100]
