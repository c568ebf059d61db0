"""corosync.conf's grammar and error texts (votequorum.md, section 10)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusterd.config.parser import MAX_PATH, Key, Problem, Section, parse, write


def problems_of(text: str) -> list[Problem]:
    problems: list[Problem] = []
    parse(text.encode(), problems)
    return problems


@pytest.mark.parametrize(
    ("text", "line", "sentence"),
    [
        ("totem {\n  version: 2\n", 2, "Missing closing brace"),
        ("}\n", 1, "Unexpected closing brace"),
        ("totem {\n}\nhello\n", 3, "Line is not opening or closing section or key value"),
        ("totem { version: 2\n}\n", 1, "Extra characters after opening bracket '{'"),
        ("totem {\n} # end\n", 2, "Extra characters before or after closing bracket '}'"),
        ("{\n}\n", 1, "Missing section name before opening bracket '{'"),
        ("a: " + "x" * 510 + "\n", 1, "Line too long"),
        (": 5\n", 1, "Key name can't be empty"),
        ("a" * 200 + " {\n" + "b" * 60 + " {\n}\n}\n", 2, "Start of section makes total cmap path too long"),
        ("a" * 200 + " {\n" + "b" * 60 + ": 1\n}\n", 2, "New key makes total cmap path too long"),
    ],
)
def test_error_text_and_line(text: str, line: int, sentence: str):
    """Each error of the grammar has the reference's words and the line it is on."""
    assert Problem(line, sentence) in problems_of(text)


def test_all_errors_at_once():
    """Every error of a file is found in one pass."""
    assert [p.line for p in problems_of("hello\n: 1\ntotem {\n} x\n}\n}\n")] == [1, 2, 4, 6]


def test_order_of_tests_is_brace_colon_brace():
    """`{` first, then `:`, then `}`: a value may hold `}`, but a `{` anywhere opens a section."""
    problems: list[Problem] = []
    root = parse(b"x: 5 }\nname: {\n}\n", problems)
    assert not problems
    assert root.keys == [Key("x", "5 }", 1)]
    assert [s.name for s in root.sections] == ["name"]


def test_no_trailing_comments():
    """A comment is a line whose first non-blank is `#`; behind a value it is part of the value."""
    problems: list[Problem] = []
    root = parse(b"  # comment\ntoken: 600 # ms\n", problems)
    assert root.keys == [Key("token", "600 # ms", 2)]


def test_blanks_and_carriage_returns_are_stripped():
    """Space, tab and byte 0xA0 at both ends of line, key and value; CR before LF is dropped."""
    root = parse(b"\xa0\ttoken\t : \xa0600\xa0\r\n", [])
    assert root.keys == [Key("token", "600", 1)]


def test_value_keeps_its_colons():
    """The first colon splits; an IPv6 address is a value."""
    assert parse(b"ring0_addr: fd00::1\n", []).keys == [Key("ring0_addr", "fd00::1", 1)]


@given(st.binary(max_size=400))
def test_any_bytes_parse_or_are_told(text: bytes):
    """Nothing in a file makes the parser raise."""
    problems: list[Problem] = []
    parse(text, problems)
    assert all(p.line >= 1 for p in problems)


_word = st.text("abcxyz_019", min_size=1, max_size=8)
_sections = st.recursive(
    st.builds(lambda n, k: Section(n, keys=[Key(a, b, 0) for a, b in k]), _word, st.lists(st.tuples(_word, _word))),
    lambda inner: st.builds(lambda n, s: Section(n, sections=s), _word, st.lists(inner, max_size=3)),
    max_leaves=6,
)


def plain(section: Section) -> tuple[object, ...]:
    return (section.name, [(k.name, k.value) for k in section.keys], [plain(s) for s in section.sections])


@given(st.lists(_sections, max_size=4))
def test_written_tree_reads_back_equal(sections: list[Section]):
    """write and parse are inverse, line numbers apart."""
    root = Section("", sections=sections)
    problems: list[Problem] = []
    assert plain(parse(write(root).encode(), problems)) == plain(root) and not problems


def test_a_tree_is_never_deep():
    """Bounded work and memory for any bytes: what lies below a path that is too long is left out, and told."""
    problems: list[Problem] = []
    root = parse(b"a {\n" * 50_000 + b"x: y\n", problems)
    depth, section = 0, root
    while section.sections:
        depth, section = depth + 1, section.sections[0]
    assert depth == (MAX_PATH + 1) // 2
    assert problems[0].sentence == "Start of section makes total cmap path too long"
    assert [problem.sentence for problem in problems[-2:]] == [
        "New key makes total cmap path too long",
        "Missing closing brace",
    ]
