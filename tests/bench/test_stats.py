"""The statistics of the benchmark (bench/stats.py) and what suites work out from raw times."""

from array import array

import pytest

from bench.report import number, spread
from bench.stats import Spread, Summary, median, percentile
from bench.suites.idle import cpu_seconds
from bench.suites.latency import latencies
from bench.suites.links import longest_pause


@pytest.mark.parametrize(
    ("share", "rank"), [(0.001, 1), (0.5, 500), (0.501, 501), (0.99, 990), (0.999, 999), (0.9991, 1000), (1.0, 1000)]
)
def test_percentile_is_the_nearest_rank(share: float, rank: int) -> None:
    """The smallest sample that at least that share of all samples does not exceed."""
    assert percentile(list(range(1, 1001)), share) == rank


def test_percentile_of_ten_thousand_is_not_one_rank_too_far() -> None:
    """0.999 * 10000 is 9990.000000000002 in binary."""
    assert percentile(list(range(1, 10_001)), 0.999) == 9990


def test_percentile_of_one_sample_is_that_sample() -> None:
    """Always a value that was measured."""
    assert {percentile([7.5], share) for share in (0.01, 0.5, 0.999, 1.0)} == {7.5}


@pytest.mark.parametrize("share", [0.0, -0.1, 1.1])
def test_percentile_refuses_what_is_no_share(share: float) -> None:
    """0 < share <= 1."""
    with pytest.raises(ValueError, match="share"):
        percentile([1.0], share)


def test_nothing_can_be_said_of_no_samples() -> None:
    """Raises ValueError without samples."""
    for function in (median, Summary.of, Spread.of):
        with pytest.raises(ValueError, match="no samples"):
            function([])
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.5)


def test_median() -> None:
    """The middle sample; of an even number, the mean of the two in the middle."""
    assert median([9, 1, 5]) == 5
    assert median([9, 1, 5, 6]) == 5.5


def test_summary_sorts_for_itself() -> None:
    """What is told of many samples, in any order."""
    summary = Summary.of(range(1000, 0, -1))
    assert summary == Summary(count=1000, least=1, p50=500, p99=990, p999=999, most=1000)


def test_spread_is_the_median_and_the_range() -> None:
    """`median (least-most)`."""
    assert Spread.of([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread(Spread(2.0, 1.0, 3000.0)) == "2.00 (1.00-3,000)"


@pytest.mark.parametrize(
    ("value", "text"), [(0.123, "0.12"), (9.99, "9.99"), (12.34, "12.3"), (123.4, "123"), (12345.6, "12,346")]
)
def test_numbers_are_short(value: float, text: str) -> None:
    """Three significant digits, or all before the point."""
    assert number(value) == text


def test_latencies_of_the_sender_and_of_the_last() -> None:
    """The warm-up is left out; each message counts from its own sender's submit."""
    answers = {
        1: _agent(sent={0: 1000, 2: 9000}, got={0: 1500, 1: 7000, 2: 10_000}),
        2: _agent(sent={1: 5000}, got={0: 2000, 1: 5500, 2: 13_000}),
    }
    assert latencies(answers, [1, 2], warm=1) == ([0.5, 1.0], [2.0, 4.0])


def test_longest_pause_counts_from_the_cut_on() -> None:
    """Between two deliveries that follow each other, the second of them after the cut."""
    times = [0, 900, 1000, 1005, 1300, 1305]
    assert longest_pause({"got_at": array("q", times).tobytes()}, cut_at=1002) == pytest.approx(295e-9)


def test_cpu_time_of_a_process_with_any_name() -> None:
    """proc(5): fields 14 and 15; the name may hold anything."""
    fields = " ".join(str(n) for n in range(4, 53))
    one_tick = cpu_seconds(f"1 (a) S {fields}") / (14 + 15)
    assert cpu_seconds(f"1 (x) R ) 9 9) S {fields}") == pytest.approx(29 * one_tick)


def _agent(sent: dict[int, int], got: dict[int, int]) -> dict[str, bytes]:
    parts = {"sent_seq": sent.keys(), "sent_at": sent.values(), "got_seq": got.keys(), "got_at": got.values()}
    return {name: array("q", values).tobytes() for name, values in parts.items()}
