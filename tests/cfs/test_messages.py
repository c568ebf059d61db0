"""Encoding of operations and results: golden bytes, round trips, hostile input (cfs/messages.py)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfs.errors import NameInvalid
from cfs.limits import INLINE_BYTES
from cfs.messages import MAX_TIME, Code, Flag, Kind, Operation, Result
from tests.cfs.building import op, put
from transport.errors import BadArgument, TooLarge, WireError

ID = bytes(range(16))
EVERY = [
    op(Kind.PUT, "a/b", b"data", condition=0, since=9),
    op(Kind.WRITE, "a", b"zz", offset=1 << 40, flags=Flag.TRUNCATE, condition=7),
    op(Kind.MKDIR, "d", flags=Flag.PARENTS),
    op(Kind.RENAME, "a", to="ü/b", flags=Flag.NO_REPLACE),
    op(Kind.DELETE, "a", flags=Flag.RECURSIVE | Flag.ONLY_DIRECTORY),
    op(Kind.SET_TIME, "a", time=MAX_TIME),
    op(Kind.STAGE, "", b"chunk", staging=ID, offset=5),
    op(Kind.PUT_STAGED, "big", staging=ID, size=1 << 20, condition=3),
    op(Kind.DROP_STAGED, "", staging=ID),
    op(Kind.SET_LIMITS, "", b"\0" * 56),
]


@pytest.mark.parametrize("operation", EVERY, ids=lambda o: o.kind.name)
def test_every_kind_survives_the_wire(operation: Operation) -> None:
    """What is encoded is what is decoded, for every kind (docs/store-format.md, "Operation")."""
    assert Operation.decode(operation.encode()) == operation


def test_golden_bytes_of_a_put() -> None:
    """The layout is a promise to logs already on disk (docs/store-format.md, "Operation")."""
    made = Operation(ID, Kind.PUT, "a/b", b"hi", condition=2, writer=3, time=4, since=5)
    assert made.encode().hex() == (
        "01010001"
        + ID.hex()
        + "0003"
        + "0000000000000004"
        + "0000000000000005"
        + "0000000000000002"
        + "0003612f62"
        + "6869"
    )


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_a_wire_error(data: bytes) -> None:
    """Hostile bytes never raise anything else (STYLE, "Wire structs")."""
    try:
        Operation.decode(data)
    except WireError:
        pass


@given(st.sampled_from(EVERY), st.data())
def test_damaged_operations_decode_or_are_a_wire_error(operation: Operation, data: st.DataObject) -> None:
    """Cut anywhere, or with any byte changed: WireError or an operation, never another exception."""
    raw = bytearray(operation.encode())
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    for sample in (bytes(raw), bytes(raw[:at])):
        try:
            Operation.decode(sample)
        except WireError:
            pass


@pytest.mark.parametrize(
    ("operation", "error"),
    [
        (put("a", bytes(INLINE_BYTES + 1)), TooLarge),
        (put("a" * 5000), TooLarge),
        (put("\udc80"), NameInvalid),
        (put("a", id=b"short"), BadArgument),
        (put("a", time=-1), BadArgument),
        (put("a", condition=1 << 64), BadArgument),
        (put("a", writer=1 << 16), BadArgument),
    ],
)
def test_what_cannot_be_encoded_is_refused(operation: Operation, error: type[Exception]) -> None:
    """A caller's value out of range is Refused before it is proposed, never a struct.error."""
    with pytest.raises(error):
        operation.encode()


def test_flags_of_another_kind_are_malformed() -> None:
    """An option its kind does not know is no message of ours: a later version's meaning is not guessed."""
    raw = bytearray(put("a").encode())
    raw[2] = Flag.RECURSIVE
    with pytest.raises(WireError):
        Operation.decode(bytes(raw))


def test_results_survive_the_disk() -> None:
    """An outcome is 25 bytes and reads back as it was."""
    result = Result(Code.CONFLICT, 10, 0, 1 << 50)
    assert len(result.encode()) == 25
    assert Result.decode(result.encode()) == result
    with pytest.raises(WireError):
        Result.decode(b"\xff" + result.encode()[1:])
