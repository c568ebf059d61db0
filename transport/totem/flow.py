"""How many bytes a member may multicast at this token visit.

All members together send at most `window_bytes` per rotation (what receivers' socket buffers must hold), one
member at most `max_visit_bytes` per visit; when several have something to send, each gets the window's share
that its present backlog has in all. Bytes, not packets: facts, totem.md section 4 and checklist 8.
"""

from __future__ import annotations

from transport.config import TotemConfig

# Frames above the stability point the whole ring may have outstanding before nobody sends anything new.
UNSTABLE_FRAMES = 16384


def allowance(
    config: TotemConfig,
    sent_by_others: int,
    backlog_of_others: int,
    backlog: int,
    unstable_frames: int,
    unstable_bytes: int,
    least: int,
) -> int:
    """Bytes that may go out in this visit, retransmissions included.

    sent_by_others: bytes, in the last rotation. backlog, backlog_of_others: bytes waiting.
    unstable_frames, unstable_bytes: given out and not yet known to be everywhere: a member that does not keep
    up stops new messages here, not somebody's memory. least: one frame's size; a member with something to
    send may always send that much, so nobody starves.
    """
    if unstable_frames >= UNSTABLE_FRAMES or unstable_bytes >= 4 * config.window_bytes:
        return 0
    room = min(config.window_bytes - sent_by_others, config.max_visit_bytes)
    if backlog_of_others > 0 and backlog > 0:
        room = min(room, config.window_bytes * backlog // (backlog + backlog_of_others))
    return max(room, least)
