"""From the milliseconds and counts of corosync.conf to the transport's settings.

The table of defaults, with corosync's beside and the reasons, is docs/timing.md. What is given is obeyed as written;
the relations the reference checks are checked with its words (facts: totem.md section 5, votequorum.md section 10).
"""

from __future__ import annotations

from clusterd.config.parser import Problem, Section
from clusterd.config.sections import Interface, Totem
from transport.config import DEFAULT_PORT, LinkConfig, TotemConfig

TOKEN_MS = 600
JOIN_MS, MERGE_MS = 50, 200
PONG_COUNT = 2
_PACKET = 1400  # bytes: what a count of messages in window_size and max_messages stands for here

# key -> (name in the reference's error, least value in ms)
_MINIMA = {
    "token": ("token timeout", 30),
    "token_retransmit": ("token retransmit timeout", 30),
    "hold": ("token hold timeout", 14),
    "join": ("join timeout", 30),
    "consensus": ("consensus timeout", 30),
    "merge": ("merge timeout", 30),
    "downcheck": ("downcheck timeout", 30),
}
_WITHOUT_EFFECT = (
    "token_warning",
    "send_join",
    "downcheck",
    "fail_recv_const",
    "seqno_unchanged_const",
    "heartbeat_failures_allowed",
    "max_network_delay",
    "miss_count_const",
    "knet_pmtud_interval",
    "knet_compression_threshold",
    "knet_compression_level",
)


def totem_config(
    totem: Totem, section: Section, nodes: int, problems: list[Problem], warnings: list[Problem]
) -> TotemConfig:
    """Timing and windows of the ring; relations that do not hold are appended to `problems`."""

    def line(key: str) -> int:
        return next((k.line for k in reversed(section.keys) if k.name == key), section.end or 1)

    given = {name: value for name in _MINIMA if (value := getattr(totem, name))}  # 0 means default
    for name, value in given.items():
        what, least = _MINIMA[name]
        if value < least:
            problems.append(
                Problem(line(name), f"The {what} parameter ({value} ms) may not be less than ({least} ms).")
            )
    if totem.token_warning is not None and totem.token_warning > 100:
        problems.append(
            Problem(
                line("token_warning"),
                f"The token warning parameter ({totem.token_warning}%) must be between 0 (disabled) and 100.",
            )
        )
    warnings.extend(
        Problem(line(name), f"{name} has no effect here (docs/timing.md)")
        for name in _WITHOUT_EFFECT
        if getattr(totem, name) is not None
    )

    token = given.get("token", TOKEN_MS)
    if totem.token_coefficient and nodes > 2:
        token += (nodes - 2) * totem.token_coefficient
    resends = totem.token_retransmits_before_loss_const
    retransmit = given.get("token_retransmit", max(30, round(token / (resends + 0.2) if resends else token / 6)))
    hold = given.get("hold", token // 8)
    if hold > token // 8:
        warnings.append(Problem(line("hold"), f"hold: a token rests at most token / 8, {token // 8} ms"))
        hold = token // 8
    join = given.get("join", JOIN_MS)
    consensus = given.get("consensus", round(1.2 * token))
    if consensus < join:
        problems.append(
            Problem(
                line("consensus"),
                f"The consensus timeout parameter ({consensus} ms) may not be less than join timeout ({join} ms).",
            )
        )
    if retransmit >= token >= _MINIMA["token"][1]:
        problems.append(
            Problem(
                line("token_retransmit"),
                "Not appropriate token or token_retransmits_before_loss_const value set: "
                f"the token is resent after {retransmit} ms and lost after {token} ms",
            )
        )
    default = TotemConfig()
    return TotemConfig(
        token=token / 1000,
        token_retransmit=retransmit / 1000,
        hold=hold / 1000,
        join=join / 1000,
        consensus=consensus / 1000,
        merge=given.get("merge", MERGE_MS) / 1000,
        window_bytes=totem.window_size * _PACKET if totem.window_size else default.window_bytes,
        max_visit_bytes=totem.max_messages * _PACKET if totem.max_messages else default.max_visit_bytes,
    )


def link_config(
    link: int, given: Interface, section: Section, totem: TotemConfig, problems: list[Problem]
) -> LinkConfig:
    """One link's settings. Pings every token / 6, a path is down after token / 2 without a pong, unless given."""
    timeout = given.knet_ping_timeout / 1000 if given.knet_ping_timeout else totem.token / 2
    interval = (
        given.knet_ping_interval / 1000 if given.knet_ping_interval else round(min(totem.token / 6, timeout / 3), 6)
    )
    if interval >= timeout:
        line = next((k.line for k in section.keys if k.name == "knet_ping_interval"), section.end or 1)
        problems.append(
            Problem(
                line,
                f"The knet_ping_interval parameter ({interval * 1000:.0f} ms) must be less than "
                f"knet_ping_timeout ({timeout * 1000:.0f} ms).",
            )
        )
    return LinkConfig(
        link=link,
        port=given.mcastport or DEFAULT_PORT + link,
        priority=1 if given.knet_link_priority is None else given.knet_link_priority,
        ping_interval=interval,
        ping_timeout=timeout,
        pong_count=given.knet_pong_count or PONG_COUNT,
    )


def mtu_cap(netmtu: int | None, knet_mtu: int | None) -> int:
    """Largest IP packet that is tried; 1280 (what every IPv6 path carries) to 65535."""
    wanted = knet_mtu or netmtu or 9000
    return max(1280, min(wanted, 65535))
