"""What a node knows of one other node and of its own quorum device: the rows of the electorate's table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

from quorum.messages import Flag


class State(IntEnum):
    """Of a node in the table; the values are the reference's API."""

    MEMBER = 1
    DEAD = 2
    LEAVING = 3


@dataclass(slots=True)
class Row:
    """A node as it last described itself."""

    votes: int
    expected: int
    flags: Flag = Flag.NONE
    state: State = State.MEMBER


@dataclass(slots=True)
class Device:
    """This node's quorum device, as its client last told."""

    registered: bool = False
    alive: bool = False
    cast: bool = False
    master_wins: bool = False
    name: str = ""

    @property
    def flags(self) -> Flag:
        said = (
            (self.registered, Flag.DEVICE_REGISTERED),
            (self.alive, Flag.DEVICE_ALIVE),
            (self.cast, Flag.DEVICE_CAST),
            (self.master_wins, Flag.MASTER_WINS),
        )
        return Flag(sum(flag for is_set, flag in said if is_set))
