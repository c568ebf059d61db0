"""The system section: what of corosync's own process settings has a meaning here."""

import pytest

from clusterd.config.parser import ConfigError
from tests.clusterd.config.samples import config_of, three


def test_real_time_scheduling_is_asked_for_unless_the_file_says_no():
    """sched_rr yes|no, default yes (facts/votequorum.md, section 11, system)."""
    assert config_of(three()).realtime
    assert not config_of(three("system {\n  sched_rr: no\n}\n")).realtime


def test_a_word_that_is_neither_yes_nor_no():
    """Said with its line, like any other wrong value."""
    with pytest.raises(ConfigError) as caught:
        config_of(three("system {\n  sched_rr: try\n}\n"))
    (line,) = caught.value.lines
    assert "sched_rr" in line


def test_other_keys_of_the_section_are_taken_without_a_word():
    """A corosync.conf in use must not come with warnings about what means nothing here."""
    assert config_of(three("system {\n  priority: max\n  move_to_root_cgroup: no\n}\n")).warnings == ()
