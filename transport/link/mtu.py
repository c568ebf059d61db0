"""The path MTU of one direction of one path: searched upwards by probes, given up at once on evidence.

Source: facts/knet.md section 5 (what a search without loss evidence costs: 33 s) and section 16 point 3; RFC 8899 for
the idea of a probe that the other end acknowledges. Sizes are IP packet sizes in bytes. True between any two calls:

    safe <= size <= max(safe, cap)      size is what data may use; a larger one only after its probe was answered
    size < bad                          no size known to fail is in use

A probe that is missing counts only when a small ping sent at the same time or later was answered: loss of everything is
the path's matter, loss of large ones alone is ours.
"""

from __future__ import annotations

from dataclasses import dataclass

from transport.link.events import Address

SAFE_V4, SAFE_V6 = 1200, 1280
_HEADERS_V4, _HEADERS_V6 = 28, 48  # IP and UDP, without options
_MISSES = 3  # probes in a row that must be missing
_CONFIRM_AFTER = 3  # large datagrams sent since the size was last confirmed
_LOOK_EVERY = 60.0  # seconds between looks whether a path now takes more, or less
_COMMON = (1500, 9000)  # tried before bisecting


def headers(ip: str) -> int:
    """Bytes of IP and UDP headers in front of a UDP payload sent to this address."""
    return _HEADERS_V6 if ":" in ip else _HEADERS_V4


def safe_size(ip: str) -> int:
    """The IP packet size every path is trusted to take: the minimum of IPv6, a little less for IPv4."""
    return SAFE_V6 if ":" in ip else SAFE_V4


@dataclass(slots=True)
class _Asked:
    """A probe on its way."""

    id: int
    size: int
    sent_at: float


class PathMtu:
    """Search and evidence for one path; the path asks `wanted` when it pings and tells what came back.

    cap: the largest IP packet size to try; below the safe size it means the safe size.
    """

    __slots__ = (
        "_asked",
        "_bad",
        "_cap",
        "_confirm",
        "_large",
        "_last_good",
        "_look_at",
        "_misses",
        "_plan",
        "_running",
        "_safe",
        "_tries",
        "header",
        "plain",
        "size",
    )

    def __init__(self, address: Address, cap: int) -> None:
        self.header = headers(address[0])
        self._safe = safe_size(address[0])
        self.plain = self._safe - self.header  # UDP payloads up to this size pass everywhere: they show nothing
        self._cap = max(cap, self._safe)
        self.size = self._safe
        self._last_good = 0
        self._running = False
        self._reset()

    def _reset(self) -> None:
        self._bad = self._cap + 1
        self._plan: list[int] = []
        self._asked: _Asked | None = None
        self._confirm: _Asked | None = None
        self._tries = 0
        self._misses = 0
        self._large = 0
        self._look_at = 0.0

    @property
    def payload(self) -> int:
        """The largest UDP payload that data may have on this path."""
        return self.size - self.header

    # ---- the path's state

    def start(self) -> None:
        """The path came up: begin at the safe size, trying first what passed before."""
        self._begin([self._last_good, self._cap])

    def stop(self) -> None:
        """The path went down: nothing is known any more."""
        self._running = False
        self._reset()
        self.size = self._safe

    def set_cap(self, cap: int) -> None:
        """A new upper limit; a larger one is searched for at once, a smaller one holds at once."""
        cap = max(cap, self._safe)
        if cap == self._cap:
            return
        self._cap = cap
        if self.size > cap:
            self.size = cap
        if self._running:
            self._search([cap])
        else:
            self._reset()

    def set_address(self, address: Address) -> None:
        """Packets go elsewhere: another path, of which nothing is known."""
        self.header = headers(address[0])
        self._safe = safe_size(address[0])
        self.plain = self._safe - self.header  # UDP payloads up to this size pass everywhere: they show nothing
        self._cap = max(self._cap, self._safe)
        self._last_good = self.size
        if self._running:
            self._begin([self._last_good, self._cap])
        else:
            self.stop()

    def _begin(self, plan: list[int]) -> None:
        self.size = self._safe
        self._search(plan)

    def _search(self, plan: list[int]) -> None:
        self._reset()
        self._running = True
        self._plan = [*plan, *(size for size in _COMMON if size < self._cap)]

    # ---- what to send

    def sent(self, payload: int) -> bool:
        """A datagram with `payload` bytes went out. True when it makes the size due for confirmation."""
        if payload <= self.plain:
            return False
        self._large += 1
        return self._large == _CONFIRM_AFTER + 1

    def busy(self, now: float) -> bool:
        """Pings should not be spared now: a probe is on its way or due."""
        return self._running and (
            self._asked is not None or self._confirm is not None or self._confirming() or self._candidate(now) > 0
        )

    def _confirming(self) -> bool:
        return self.size > self._safe and (self._misses > 0 or self._large > _CONFIRM_AFTER)

    def _candidate(self, now: float) -> int:
        """The next size to try, 0 for none now."""
        if not self._running:
            return 0
        while self._plan:
            size = self._plan[0]
            if self.size < size < self._bad:
                return size
            self._plan.pop(0)
        if self._bad - self.size > 1:
            return (self.size + self._bad) // 2
        if self._look_at == 0.0:  # found, to the byte; look again later, for paths change
            self._look_at = now + _LOOK_EVERY
        if now < self._look_at:
            return 0
        self._look_at = 0.0
        self._large = _CONFIRM_AFTER + 1  # downwards too, where no data flows
        if self.size >= self._cap:
            return 0
        self._bad = self._cap + 1
        self._plan = [self._cap, self.size + 1]  # if not even that passes, nothing has changed
        return self._cap

    def wanted(self, now: float, wait: float, answered: float) -> list[int]:
        """IP packet sizes to probe now. What is missing is judged first, so `size` may have changed.

        wait: seconds after which an answer is missing. answered: send time of the newest ping that was answered.
        Call `asked` for each size when its probe goes out.
        """
        if not self._running:
            return []
        self._judge(now, wait, answered)
        sizes = []
        if self._confirm is None and self._confirming():
            sizes.append(self.size)
        if self._asked is None and self._misses == 0 and (size := self._candidate(now)):
            sizes.append(size)
        return sizes

    def asked(self, number: int, size: int, now: float) -> None:
        """The probe `number` of IP packet size `size` goes out now."""
        if size > self.size:
            self._asked = _Asked(number, size, now)
        else:
            self._confirm = _Asked(number, size, now)
            self._large = 0

    # ---- what came back, or did not

    def acked(self, number: int) -> None:
        """The probe `number` arrived whole at the other end."""
        if self._confirm is not None and self._confirm.id == number:
            self._confirm = None
            self._misses = 0
        elif self._asked is not None and self._asked.id == number:
            self.size = max(self.size, min(self._asked.size, self._cap))
            self._last_good = self.size
            self._asked = None
            self._tries = self._misses = 0
            self._check()

    def _judge(self, now: float, wait: float, answered: float) -> None:
        """Decide about probes that are due for an answer; without small ones answered, wait, then ask again."""
        asked = self._asked
        if asked is not None and now - asked.sent_at >= wait:
            if answered >= asked.sent_at:
                self._tries += 1
            if answered >= asked.sent_at or now - asked.sent_at >= 4 * wait:
                self._asked = None
            if self._tries >= _MISSES:
                self._bad = min(self._bad, asked.size)
                self._tries = 0
        confirm = self._confirm
        if confirm is not None and now - confirm.sent_at >= wait:
            if answered >= confirm.sent_at:
                self._misses += 1
            if answered >= confirm.sent_at or now - confirm.sent_at >= 4 * wait:
                self._confirm = None
            if self._misses >= _MISSES:
                self._fall(confirm.size - 1)

    def too_big(self, limit: int, sure: bool) -> None:
        """The host or a router says that packets above `limit` bytes do not pass.

        sure: our own kernel says so. Else the word is not authentic (ICMP): it only makes us look at once.
        """
        if not self._running or limit >= self._bad:
            return
        limit = max(limit, self._safe)
        if limit >= self.size:
            if sure:
                self._bad = min(self._bad, limit + 1)
                if self._asked is not None and self._asked.size > limit:
                    self._guess(limit, self._asked.size)
                    self._asked, self._tries = None, 0
        elif sure:
            self._fall(limit)
        else:
            self._misses = max(self._misses, 1)

    def _fall(self, limit: int) -> None:
        """Sizes above `limit` do not pass: use the safe size, then look for what is left."""
        failed = self.size
        self._begin([])
        self._guess(limit, failed)
        self._bad = min(self._bad, limit + 1)
        self._check()

    def _guess(self, limit: int, failed: int) -> None:
        """Try `limit` next, if it says more than that `failed` is too large."""
        if limit < failed - 1:
            self._plan.insert(0, limit)

    def _check(self) -> None:
        assert self._safe <= self.size <= self._cap and self.size < self._bad, (self.size, self._bad, self._cap)
