"""What quorum says on the ring: about a node, and changes of the numbers by an operator or a configuration.

Every message opens with a version and a kind, u8 each; integers are big-endian. At the barrier a member's state is
one NodeInfo. Source: the reference's messages, facts/votequorum.md section 2; the layout is ours.

    1 NodeInfo       u32 votes, u32 expected, u16 flags, u16 newcomer, u32 device votes, text device name
    2 SetExpected    u32 value
    3 SetVotes       u16 node, u32 value
    4 CancelWait     nothing
    5 Configured     u32 value, u32 votes
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from quorum.options import MAX_VOTES
from transport.codec import Reader, Writer
from transport.errors import WireError
from transport.ids import NodeId

VERSION = 1
MAX_NAME = 255
_NODE_INFO, _SET_EXPECTED, _SET_VOTES, _CANCEL_WAIT, _CONFIGURED = 1, 2, 3, 4, 5


class Flag(IntFlag):
    """What a node says about itself; WAITING is the reference's wait-for-all status, FIRST "alone since start"."""

    NONE = 0
    QUORATE = 1
    LEAVING = 2
    WAITING = 4
    FIRST = 8
    DEVICE_REGISTERED = 16
    DEVICE_ALIVE = 32
    DEVICE_CAST = 64
    MASTER_WINS = 128


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """A node about itself. newcomer: the listed node it does not count yet because it never joined, 0 for none.

    device_name: "" while no device is registered at the sender. device_votes: 0 without a device.
    """

    votes: int
    expected: int
    flags: Flag
    newcomer: NodeId = 0
    device_votes: int = 0
    device_name: str = ""


@dataclass(frozen=True, slots=True)
class SetExpected:
    """An operator: expected votes of all members := value."""

    value: int


@dataclass(frozen=True, slots=True)
class SetVotes:
    """An operator: the votes of `node` := value."""

    node: NodeId
    value: int


@dataclass(frozen=True, slots=True)
class CancelWait:
    """An operator: no member waits for all any longer."""


@dataclass(frozen=True, slots=True)
class Configured:
    """The sender runs a new configuration: expected votes := value (0: unchanged), its own votes := votes."""

    value: int
    votes: int


Message = NodeInfo | SetExpected | SetVotes | CancelWait | Configured


def encode(message: Message) -> bytes:
    writer = Writer().u8(VERSION)
    if isinstance(message, NodeInfo):
        writer.u8(_NODE_INFO).u32(message.votes).u32(message.expected).u16(message.flags).u16(message.newcomer)
        writer.u32(message.device_votes).text(message.device_name)
    elif isinstance(message, SetExpected):
        writer.u8(_SET_EXPECTED).u32(message.value)
    elif isinstance(message, SetVotes):
        writer.u8(_SET_VOTES).u16(message.node).u32(message.value)
    elif isinstance(message, Configured):
        writer.u8(_CONFIGURED).u32(message.value).u32(message.votes)
    else:
        writer.u8(_CANCEL_WAIT)
    return writer.done()


def decode(data: bytes) -> Message:
    """Raises WireError."""
    reader = Reader(data)
    version, kind = reader.u8(), reader.u8()
    if version != VERSION:
        raise WireError(f"quorum message version {version}, {VERSION} expected")
    message: Message
    if kind == _NODE_INFO:
        votes, expected = _votes(reader), _votes(reader)
        flags, newcomer = Flag(reader.u16() & 0xFF), reader.u16()
        message = NodeInfo(votes, expected, flags, newcomer, _votes(reader), reader.text(MAX_NAME))
    elif kind == _SET_EXPECTED:
        message = SetExpected(_votes(reader, at_least=1))
    elif kind == _SET_VOTES:
        message = SetVotes(reader.u16(), _votes(reader))
    elif kind == _CANCEL_WAIT:
        message = CancelWait()
    elif kind == _CONFIGURED:
        message = Configured(_votes(reader), _votes(reader))
    else:
        raise WireError(f"quorum message kind {kind}")
    reader.end()
    return message


def _votes(reader: Reader, at_least: int = 0) -> int:
    value = reader.u32()
    if not at_least <= value <= MAX_VOTES:
        raise WireError(f"{value} votes, {at_least}..{MAX_VOTES} expected")
    return value
