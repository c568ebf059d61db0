"""The quorum state file: what was saved is there after a crash; a damaged file is noticed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from quorum.events import SavedState
from quorum.io import statefile
from transport.core import SilentLog


def test_saved_state_is_loaded_again(tmp_path: Path) -> None:
    """expected_votes_tracking: every update reaches the disk, not only the first (votequorum.md 4.6)."""
    path = tmp_path / statefile.NAME
    for state in (SavedState(3, 0), SavedState(7, 4)):
        statefile.save(path, state)
        assert statefile.load(path, SilentLog()) == state


def test_no_file_is_a_node_that_never_ran(tmp_path: Path) -> None:
    assert statefile.load(tmp_path / "none", SilentLog()) == SavedState()


@pytest.mark.parametrize("damage", [b"", b"\xff\xff", b"highest_expected=9 newcomer=0 00000000\n"])
def test_damaged_file_counts_for_nothing(tmp_path: Path, damage: bytes) -> None:
    """S6: bit rot is detected by checksum."""
    path = tmp_path / statefile.NAME
    path.write_bytes(damage)
    assert statefile.load(path, SilentLog()) == SavedState(lost=True)
    assert path.with_name("quorum.damaged").read_bytes() == damage
    assert statefile.load(path, SilentLog()) == SavedState()


def test_failed_write_leaves_the_old_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Temporary file, fsync, rename: a full disk at the fsync changes nothing that is read later."""
    path = tmp_path / statefile.NAME
    statefile.save(path, SavedState(3, 0))

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        statefile.save(path, SavedState(5, 0))
    assert statefile.load(path, SilentLog()) == SavedState(3, 0)
