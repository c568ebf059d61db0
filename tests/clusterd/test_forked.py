"""A machine that goes on from a snapshot of its memory (clusterd/daemon.py)."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest

from clusterd.daemon import Daemon


class Ended(Exception):  # noqa: N818  what os._exit is here
    """With this exit code."""


def end(code: int) -> None:
    raise Ended(code)


def daemon(did: list[str]) -> SimpleNamespace:
    log = SimpleNamespace(warning=lambda text: did.append(text))
    return SimpleNamespace(_log=log, _driver=SimpleNamespace(call=did.append), node=SimpleNamespace(renew_keys="keys"))


def test_a_machine_put_back_starts_its_daemon_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Q4, X1: what is in memory is of the past, its clock and its verdict too: nothing more goes out."""
    did: list[str] = []
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended, match="1"):
        Daemon._machine_forked(daemon(did), True)  # type: ignore[arg-type]
    assert did == ["this virtual machine goes on from a snapshot or as a copy: clusterd starts anew"]


def test_where_that_is_not_sure_new_keys_must_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of other events of the kernel restarts nothing."""
    did: list[str] = []
    monkeypatch.setattr(os, "_exit", end)
    Daemon._machine_forked(daemon(did), False)  # type: ignore[arg-type]
    assert did == ["this virtual machine may go on from a snapshot: new keys with all nodes", "keys"]


def test_a_machine_put_back_that_only_other_nodes_notice(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the hypervisor tells: the process ends at once."""
    did: list[str] = []
    monkeypatch.setattr(os, "_exit", end)
    with pytest.raises(Ended, match="1"):
        Daemon._went_back(daemon(did), ["hp2", "hp3"])  # type: ignore[arg-type]
    assert did == [
        "hp2, hp3 remember more of this node than it does itself: its machine was put back to a snapshot with its "
        "memory; clusterd starts anew"
    ]
