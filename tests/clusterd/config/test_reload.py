"""What a reload changes, in sentences, and what it may not."""

import pytest

from clusterd.config.reload import compare
from tests.clusterd.config.samples import BASE, config_of, node, nodelist, three


def next_version(text: str) -> str:
    return text.replace("config_version: 3", "config_version: 4")


def test_nothing_changed():
    """The same text again is no change, whatever its version."""
    difference = compare(config_of(three()), config_of(three()))
    assert difference.changed == () and difference.refused == ()


def test_nodes_come_and_go_by_name():
    """A node is told whole, not key by key."""
    after = BASE + nodelist(node(1), node(2), node(4))
    difference = compare(config_of(three()), config_of(next_version(after)))
    assert difference.changed == ("node n3 (id 3) removed", "node n4 (id 4) added")


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("totem {\n  token: 1000\n}\n", "totem.token: (not set) -> 1000"),
        (
            "totem {\n  interface {\n    linknumber: 0\n    knet_link_priority: 5\n  }\n}\n",
            "link 0: knet_link_priority",
        ),
    ],
)
def test_live_change(extra: str, sentence: str):
    """Timing and links change live."""
    difference = compare(config_of(three()), config_of(next_version(three(extra))))
    assert any(sentence in changed for changed in difference.changed)
    assert difference.needs_restart == () and difference.refused == ()


def test_what_waits_for_a_restart_is_said():
    """wait_for_all is read at start (votequorum.md, section 6)."""
    difference = compare(config_of(three()), config_of(next_version(three("quorum {\n  wait_for_all: 1\n}\n"))))
    assert difference.needs_restart == ("quorum.wait_for_all: (not set) -> 1",)


def test_version_must_rise():
    """config_version orders configurations: a change without a higher one is refused, saying which is needed."""
    (reason,) = compare(config_of(three()), config_of(three("totem {\n  token: 1000\n}\n"))).refused
    assert "raise it to 4" in reason


def test_cluster_name_cannot_change():
    """Refused with the reason."""
    after = next_version(three()).replace("cluster_name: lab", "cluster_name: other")
    (reason,) = compare(config_of(three()), config_of(after)).refused
    assert "cluster_name" in reason
