"""What makes two trees equal (cfs/digest.py)."""

from __future__ import annotations

import hashlib

import pytest

from cfs.digest import decode_entry, encode_entry
from tests.cfs.building import mkdir, put, rm, run, tree
from transport.errors import WireError


def test_golden_digest() -> None:
    """The digest is compared between versions: built here by hand from its description (docs/store-format.md)."""
    state = tree(put("a", b"hi", time=7, writer=3))
    entry = bytes.fromhex("0800030000000000000001000000000000000100000000000000070001") + b"a" + b"hi"
    total = hashlib.sha256(entry).digest()
    expected = hashlib.sha256(b"clusterd tree 1\0" + (1).to_bytes(8, "big") + total).digest()
    assert state.digest() == expected


def test_the_order_of_history_is_in_the_digest() -> None:
    """Same revision <=> same digest: equal contents by another way differ in their revisions (S4)."""
    one, two = tree(put("a"), put("b")), tree(put("b"), put("a"))
    assert one.digest() != two.digest()
    assert one.digest() == tree(put("a"), put("b")).digest()


def test_a_change_and_its_undoing_do_not_cancel() -> None:
    """The revision is in the digest: an equal tree at another revision has another."""
    state = tree(put("a"))
    before = state.digest()
    run(state, put("b"), rm("b"))
    assert state.digest() != before


def test_entries_survive_the_wire() -> None:
    """Canonical entry encoding; a directory with content is no entry."""
    state = tree(mkdir("d"), put("d/f", b"1" * 1000), put("g", b""))
    for entry in state.ls("", recursive=True):
        assert decode_entry(encode_entry(entry)) == entry
    with pytest.raises(WireError):
        decode_entry(encode_entry(state.stat("d")) + b"x")
