"""The replay window against a set that forgets nothing."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from transport.replay import DUPLICATE, FRESH, OLD, WIDTH, Window


def model(seen: set[int], floor: int, width: int, counter: int) -> int:
    """What RFC 6479 promises, said with a set."""
    top = max(seen, default=floor - 1)
    if counter < floor or counter <= top - width:
        return OLD
    return DUPLICATE if counter in seen else FRESH


@settings(max_examples=300, deadline=None)
@given(
    floor=st.sampled_from([0, 1, 7, 8, 63, 1000, 2**63]),
    width=st.sampled_from([8, 16, 64, 1024]),
    moves=st.lists(
        st.one_of(
            st.integers(-40, 40),
            st.integers(-1100, 1100),
            st.sampled_from([8, 16, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 2048, 5000]),
        ),
        max_size=120,
    ),
)
def test_same_verdicts_as_a_set(floor: int, width: int, moves: list[int]) -> None:
    """Any order, any jumps: fresh exactly once, duplicate inside the window, old below (RFC 6479 section 2)."""
    window, seen, counter = Window(floor, width), set[int](), floor
    for move in moves:
        counter = max(0, counter + move)
        verdict = window.check(counter)
        assert verdict == model(seen, floor, width, counter)
        if verdict == FRESH:
            window.mark(counter)
            seen.add(counter)
    assert window.top == max(seen, default=floor - 1)


def test_edges_of_the_full_width() -> None:
    """65,536 counters are remembered: the lowest of them may still come, the one below may not."""
    window = Window()
    window.mark(WIDTH + 99)
    assert window.check(100) == FRESH
    assert window.check(99) == OLD
    window.mark(100)
    assert window.check(100) == DUPLICATE
    window.mark(WIDTH + 100)
    assert window.check(100) == OLD


def test_floor_refuses_what_was_sent_before_the_key_came() -> None:
    """A key handed over at counter 5 accepts 5 and nothing before (DESIGN 6, sender keys)."""
    window = Window(floor=5)
    assert window.check(4) == OLD
    assert window.check(5) == FRESH


def test_checking_changes_nothing() -> None:
    """A forged packet with a huge counter is looked up, fails to decrypt, and must not move the window."""
    window = Window()
    window.mark(3)
    assert window.check(2**64 - 1) == FRESH
    assert window.check(2) == FRESH
    assert window.top == 3
