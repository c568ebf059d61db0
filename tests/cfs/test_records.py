"""Log records, epochs and data sets: encodings and the chain (cfs/records.py)."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cfs.records import (
    GENESIS,
    START,
    DataSet,
    EpochKind,
    EpochRecord,
    Lineage,
    LogRecord,
    RecordKind,
)
from tests.cfs.building import EPOCH, put, records
from transport.errors import WireError
from transport.ids import NO_RING

OPENED = EpochRecord(EPOCH, NO_RING, 1, 2, EpochKind.NARROW, 3, (1, 2, 65535))
SET = DataSet(2, {3: 1, 1: 2})


def test_golden_record_and_chain() -> None:
    """The layout and the chain are a promise to logs already on disk (docs/store-format.md, "Record")."""
    record = LogRecord.after(START, EPOCH, RecordKind.EPOCH, b"body")
    head = bytes.fromhex("00000000000000010000000000000004000000010000004d02")
    assert record.chain == hashlib.sha256(GENESIS + head + b"body").digest()
    assert record.encode() == head + record.chain + b"body"
    assert LogRecord.decode(record.encode()) == record


def test_the_chain_ties_a_record_to_its_past() -> None:
    """Another predecessor, index, epoch, kind or body: it does not follow (DESIGN 7, "Log")."""
    one, two = records([put("a"), put("b")])
    assert two.follows(one.position)
    assert not two.follows(START)
    for field, value in (
        ("index", 3),
        ("epoch", NO_RING),
        ("kind", RecordKind.DATA_SET),
        ("body", b"else"),
        ("chain", GENESIS),
    ):
        changed = LogRecord.decode(two.encode())
        setattr(changed, field, value)
        assert not changed.follows(one.position)


def test_epochs_and_data_sets_survive() -> None:
    """Epoch record, data set and the lineage of both decode to what was encoded."""
    lineage = Lineage((OPENED, OPENED), SET)
    assert EpochRecord.decode(OPENED.encode()) == OPENED
    assert DataSet.decode(SET.encode()) == SET
    assert DataSet.decode(SET.encode()).votes == SET.votes
    assert Lineage.decode(lineage.encode()) == lineage


@given(st.sampled_from([LogRecord, EpochRecord, DataSet, Lineage]), st.binary(max_size=120))
def test_any_bytes_decode_or_are_a_wire_error(kind: type[LogRecord], data: bytes) -> None:
    """Hostile bytes never raise anything else, and cost no memory."""
    try:
        kind.decode(data)
    except WireError:
        pass


def test_a_data_set_lists_a_node_once() -> None:
    """Votes counted twice would make a majority of a minority."""
    raw = bytearray(SET.encode())
    raw[10:12] = raw[16:18]
    with pytest.raises(WireError):
        DataSet.decode(bytes(raw))
