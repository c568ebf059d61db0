"""What people see, at 80 columns: nothing wider, nothing cut, the facts in the order people know."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from clusterd.cli import tables
from tests.clusterd.fake import FakeBackend


def drawn(what: Any, width: int = 80) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(what)
    return out.getvalue()


def in_order(text: str, *facts: str) -> bool:
    position = 0
    for fact in facts:
        found = text.find(fact, position)
        if found < 0:
            raise AssertionError(f"{fact!r} is missing or out of order in\n{text}")
        position = found
    return True


SEED_ORDER = (
    "Cluster information",
    "Name:             lab",
    "Config Version:   1",
    "Transport:        knet",
    "Secure auth:      on",
    "Quorum information",
    "Date:",
    "Quorum provider:  corosync_votequorum",
    "Nodes:            3",
    "Node ID:          1",
    "Ring ID:          1.1a8",
    "Quorate:          Yes",
    "Votequorum information",
    "Expected votes:   3",
    "Highest expected: 3",
    "Total votes:      3",
    "Quorum:           2",
    "Flags:            Quorate",
    "Membership information",
    "Nodeid  Votes  Name",
    "1      1  n1 (local)",
    "2      1  n2",
    "3      1  n3",
)


def test_status_carries_the_known_facts_in_the_known_order():
    """As `pvecm status` prints them, so that nobody has to learn where to look."""
    text = drawn(tables.status(FakeBackend().status()))
    assert in_order(text, *SEED_ORDER)
    assert max(len(line) for line in text.splitlines()) <= 80


def test_status_of_a_node_alone_says_what_is_blocked_and_why():
    """Not quorate: Activity blocked, the reason, and a store that only reads."""
    backend = FakeBackend()
    backend.quorate, backend.members = False, [1]
    status = backend.status()
    status["store"].update(held_only_by=[1], kind="narrow", alarm=True, received=5 << 20)
    text = drawn(tables.status(status))
    assert in_order(
        text,
        "Nodes:            1",
        "Quorate:          No",
        "Quorum:           2 Activity blocked",
        "Reason:           2 of 3 votes needed, 1 present",
        "offline",
        "synced, read-only",
        "Read-only:        this node is not quorate",
        "Receiving:        5.0 MiB so far",
        "Narrow:           held only by node 1",
        "Alarm:            two histories disagree",
    )


def test_a_ring_that_forms_is_said():
    """Ring ID with its phase, and a ring that never was."""
    status = FakeBackend().status()
    status["ring"].update(id=None, phase="gather")
    assert "Ring ID:          - (gather)" in drawn(tables.status(status))


def test_links_fit_and_say_why_one_is_down():
    """State, reason, and which way data goes."""
    backend = FakeBackend()
    backend.members = [1, 2]
    answer = backend.links()
    for link in answer["links"]:
        link["remote"] = link["remote"].replace("127.77", "192.168")
        link["tx_bytes"] = 1023 * 1024
    text = drawn(tables.links(answer))
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert in_order(
        text, "2 n2", "up", "*", "3 n3", "down", "Link 0 to n3 is down: no pong for 0.3 s", "0 not authentic"
    )


def test_eight_links_of_a_large_cluster_still_fit():
    """Node names and addresses of ordinary length; wide columns wrap, none is lost."""
    backend = FakeBackend()
    nodes = backend.nodes()["nodes"]
    nodes[0]["addresses"] = [f"192.168.{link}.101" for link in range(8)]
    text = drawn(tables.nodes(nodes))
    assert max(len(line) for line in text.splitlines()) <= 80
    for link in range(8):
        assert f"192.168.{link}.101" in text


def test_lab_shows_states_views_and_cuts():
    """Both directions in one line where they are cut alike."""
    rows = [
        {"id": ident, "name": f"n{ident}", "state": state, "pid": pid, "exit": code}
        for ident, state, pid, code in [(1, "running", 812, None), (2, "stopped", None, 137), (3, "failed", None, 1)]
    ]
    cuts = [{"from": a, "to": b, "link": link} for a, b in ((1, 2), (2, 1), (1, 3)) for link in (0, 1)]
    answer = {"lab": "default", "dir": "/var/tmp/x", "base": 77, "links": 2, "nodes": rows, "cuts": cuts}
    text = drawn(tables.lab(answer, {1: FakeBackend().status()}))
    assert in_order(text, "1 n1", "running", "812", "yes", "1.1a8", "1, 2, 3", "stopped (SIGKILL)", "failed (exit 1)")
    assert in_order(text, "Cut: 1 <-> 2 on link 0, 1", "Cut: 1 --> 3 on link 0, 1")
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_into_a_pipe_nothing_is_wrapped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    """A long path is one line for grep."""
    monkeypatch.delenv("COLUMNS", raising=False)
    entry = {"path": "x" * 300, "type": "file", "size": 1, "revision": 1, "mtime": 0.0, "writer": 1}
    print(tables.drawn(tables.entries([entry])))  # type: ignore[list-item]
    assert "x" * 300 in capsys.readouterr().out


@pytest.mark.parametrize(
    "seconds, words", [(0.0, "0 s"), (59.0, "59 s"), (60.0, "1 min"), (7200.0, "2 h"), (90000.0, "1 d")]
)
def test_ages(seconds: float, words: str):
    """One number and its unit."""
    assert tables._age(seconds) == words
