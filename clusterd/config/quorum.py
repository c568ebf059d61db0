"""The quorum section to QuorumOptions; combinations are judged by quorum.options, lines are found here."""

from __future__ import annotations

import re

from clusterd.config.parser import Problem, Section
from clusterd.config.sections import Device, QuorumSection
from quorum.options import QuorumOptions, check
from transport.ids import NodeId


def quorum_options(
    quorum: QuorumSection,
    section: Section,
    device: Device,
    votes: dict[NodeId, int],
    t_excl: float,
    problems: list[Problem],
) -> QuorumOptions | None:
    """None when something is wrong; the problems say what. votes: of the listed nodes. t_excl: seconds."""
    before = len(problems)
    breaker = _tie_breaker(quorum, section, problems)
    has_device = bool(device.model)
    if has_device and device.model != "net":
        problems.append(Problem(_line(section, ""), f'Quorum device model "{device.model}" is not known, only net is'))
    options = QuorumOptions(
        votes=votes,
        expected_votes=quorum.expected_votes or 0,
        two_node=quorum.two_node,
        wait_for_all=quorum.wait_for_all,
        last_man_standing=quorum.last_man_standing,
        last_man_standing_window=quorum.last_man_standing_window / 1000,
        auto_tie_breaker=breaker,
        allow_downscale=quorum.allow_downscale,
        expected_votes_tracking=quorum.expected_votes_tracking,
        device=has_device,
        device_votes=device.votes,
        device_timeout=device.timeout / 1000,
        device_sync_timeout=device.sync_timeout / 1000,
        master_wins=device.master_wins,
        t_excl=t_excl,
    )
    problems.extend(Problem(_line(section, key), sentence) for key, sentence in check(options))
    return options if len(problems) == before else None


def _tie_breaker(quorum: QuorumSection, section: Section, problems: list[Problem]) -> str | tuple[NodeId, ...]:
    text = quorum.auto_tie_breaker_node.strip()
    if not quorum.auto_tie_breaker:
        if text:
            problems.append(
                Problem(_line(section, "auto_tie_breaker_node"), "auto_tie_breaker_node needs auto_tie_breaker: 1")
            )
        return ""
    if text in ("", "lowest", "highest"):
        return text or "lowest"
    if not re.fullmatch(r"[0-9]{1,5}([ ,]+[0-9]{1,5})*", text):
        problems.append(
            Problem(
                _line(section, "auto_tie_breaker_node"),
                f'auto_tie_breaker_node is lowest, highest or a list of node ids, but "{text}" was given',
            )
        )
        return ""
    return tuple(int(word) for word in re.split(r"[ ,]+", text))


def _line(section: Section, key: str) -> int:
    return next((k.line for k in reversed(section.keys) if k.name == key), section.end or section.line or 1)
