"""The compiled copy: which sources it fits, when there is one, what is run there, and what is told when it differs."""

from __future__ import annotations

import fcntl
import sys
from collections.abc import Callable
from dataclasses import FrozenInstanceError, fields, is_dataclass, replace
from pathlib import Path
from types import FunctionType
from typing import IO, Any, get_args, get_type_hints

import pytest

from quorum.options import QuorumOptions
from tests.sim import sweep
from tests.sim.cases import Case
from tests.sim.cluster import Cluster
from tests.sim.compiling import copies
from tests.sim.compiling.both import CHECKED, Both, agreed, fits
from tests.sim.compiling.build import COMPILED, is_compiled
from tests.sim.compiling.rewrite import TAPPED, rewritten
from tests.sim.compiling.sources import BUILT_BY, ROOT, key, sources
from tests.sim.history import Violation
from tests.sim.network import Conditions
from tests.sim.plan import Plan, draw
from tests.sim.report import Report
from tests.sim.runs import SAME, failure_lines
from tests.sim.trace import Trace
from tests.sim.troubles import Fault

PLAIN = 0x1001  # a seed that is no multiple of CHECKED


def some_sources(root: Path) -> None:
    texts = {
        "tests/sim/worker.py": "from core import ring\nimport tests.sim.clock\n",
        "tests/sim/clock.py": "import struct\n",
        "tests/sim/test_clock.py": "from tests.sim import clock\n",
        "core/__init__.py": "",
        "core/ring.py": "def token():\n    from core.codec import Reader\n",
        "core/codec.py": "",
        "core/shell.py": "",
    }
    for name, text in {**texts, **dict.fromkeys(BUILT_BY, "")}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_a_copy_is_for_what_a_run_loads(tmp_path: Path) -> None:
    """Whatever the simulator imports, however deep, and the way to compile make another copy; nothing else does."""
    some_sources(tmp_path)
    loaded = ["core/__init__.py", "core/codec.py", "core/ring.py", "tests/sim/clock.py", "tests/sim/worker.py"]
    assert sources(tmp_path) == loaded
    before = key(tmp_path)
    assert key(tmp_path) == before
    for name in ("core/shell.py", "tests/sim/test_clock.py"):
        (tmp_path / name).write_text("changed = 1\n")
    assert key(tmp_path) == before
    seen = {before}
    for name in (*loaded, *BUILT_BY):
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text + "changed = 1\n")
        seen.add(key(tmp_path))
        (tmp_path / name).write_text(text)
    assert len(seen) == 1 + len(loaded) + len(BUILT_BY)


def test_every_core_is_compiled_and_no_disk() -> None:
    """Each pattern fits something; snapshots are deep copies of a disk, and of nothing that is compiled."""
    compiled = [name for name in sources() if is_compiled(name)]
    assert {"transport/totem/ring.py", "transport/link/path.py", "quorum/lease.py", "cfs/replica.py"} <= {*compiled}
    assert not {"tests/sim/disk.py", "tests/sim/generation.py", "tests/sim/shadow.py"} & {*compiled}
    assert all((ROOT / name).is_file() for name in COMPILED if "*" not in name)


def test_stored_plans_can_be_read_there() -> None:
    """They are read by the annotations of a plan's classes; those of a compiled one are no more than plain types."""
    left: list[type] = [Plan]
    seen: set[type] = set()
    while left:
        kind = left.pop()
        seen.add(kind)
        hints = get_type_hints(kind)
        if is_compiled(f"{kind.__module__.replace('.', '/')}.py"):
            assert {*hints.values()} <= {int, float, str, bool}, kind
        inside = [part for hint in hints.values() for part in (hint, *get_args(hint))]
        left += [part for part in inside if is_dataclass(part) and isinstance(part, type) and part not in seen]
    assert {Conditions, QuorumOptions} <= seen


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty place for copies, and all that is needed to make one."""
    monkeypatch.setattr(copies, "PLACE", tmp_path / "compiled")
    monkeypatch.setattr(copies, "lacking", lambda: "")
    monkeypatch.setattr(copies, "key", lambda: "state1")
    maker = "import sys; open(sys.argv[1] + '/made', 'w').close()"
    monkeypatch.setattr(copies, "COMMAND", [sys.executable, "-I", "-S", "-c", maker])
    return tmp_path / "compiled"


def test_without_a_compiler_pure_python_runs(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line says what is missing."""
    monkeypatch.undo()
    monkeypatch.setattr(copies, "PLACE", place)
    monkeypatch.setenv("CC", "no-such-compiler")
    said: list[str] = []
    assert copies.ready(said.append) is None
    assert len(said) == 1 and "there is no C compiler (no-such-compiler; apt install gcc)" in said[0]
    assert not place.exists()


def test_a_copy_is_made_once_for_each_state(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time is told when it is made; then it is there. Of many states those used last are kept."""
    said: list[str] = []
    assert copies.present() is None
    copy = copies.ready(said.append)
    assert copy is not None and (copy / "made").is_file() and copies.present() == copy
    assert [line.split(" in ")[0] for line in said] == ["compiling these sources, once ...", "compiled"]
    assert copies.ready(said.append) == copy and len(said) == 2
    for number in range(2, 7):
        monkeypatch.setattr(copies, "key", lambda name=f"state{number}": name)
        assert copies.ready(said.append) == place / f"state{number}"
    assert len(list(place.glob("state*"))) == copies.KEPT and (place / "state6").is_dir()


def test_what_cannot_be_compiled_is_told_and_leaves_nothing(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pure Python runs then, too; so when the sources change while they are compiled."""
    said: list[str] = []
    monkeypatch.setattr(copies, "COMMAND", [sys.executable, "-I", "-S", "-c", "raise SystemExit('ring.py:3: error')"])
    assert copies.ready(said.append) is None
    assert said[1:] == [f"could not be compiled; pure Python runs instead:\nring.py:3: error\n{copies.AGAIN}"]
    monkeypatch.setattr(copies, "COMMAND", [sys.executable, "-I", "-S", "-c", ""])
    names = iter(["state1", "state1", "state1", "state2"])
    monkeypatch.setattr(copies, "key", lambda: next(names))
    assert copies.ready(said.append) is None and "changed meanwhile" in said[-1]
    assert [each.name for each in place.iterdir()] == [copies.LOCK]


def test_two_processes_make_one_copy(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second waits for the first, and takes what that has made; what a killed one has left is removed."""
    left = place / f"{copies.MAKING}left"
    left.mkdir(parents=True)
    said: list[str] = []
    asked: list[int] = []

    def turn(lock: IO[str], how: int) -> None:
        asked.append(how)
        if how & fcntl.LOCK_NB:
            raise BlockingIOError
        (place / "state1").mkdir()

    with monkeypatch.context() as held:
        held.setattr(fcntl, "flock", turn)
        assert copies.ready(said.append) == place / "state1"
    assert said == ["another process is compiling; this one waits for it ..."] and len(asked) == 2
    assert left.is_dir()
    monkeypatch.setattr(copies, "key", lambda: "state2")
    assert copies.ready(said.append) == place / "state2" and not left.exists()


def report(seed: int, trace: str = "1-a", failure: Violation | None = None, **counts: float) -> Report:
    return Report(seed, 3, failure, fingerprint=trace, counts=counts)


def run(case: Case, compiled: Report, pure: Report, every: int = CHECKED) -> tuple[Report, list[str], Both]:
    """What is told of it, and which runs were made."""
    made: list[str] = []

    def runner(what: str, found: Report) -> Callable[[Case], Report]:
        def run_it(_: Case) -> Report:
            made.append(what)
            return found

        return run_it

    both = Both(every)
    return both.run(case, runner("compiled", compiled), runner("pure", pure)), made, both


def test_a_run_that_holds_is_compiled_and_some_are_both() -> None:
    """One of CHECKED seeds is compared, each where so asked, and each stored plan."""
    for seed, every, wanted in ((PLAIN, CHECKED, 1), (CHECKED * 5, CHECKED, 2), (PLAIN, 1, 2)):
        told, made, _ = run(Case(seed), report(seed), report(seed), every)
        assert told.failure is None and made == ["compiled", "pure"][:wanted]


def test_a_failure_is_told_as_pure_python_shows_it() -> None:
    """It is run again, and that run's report counts."""
    failures = [Violation(2.0, "S3", "node 1 lost it") for _ in range(2)]
    pure = report(PLAIN, "1-a", failures[1])
    told, made, both = run(Case(PLAIN), report(PLAIN, "1-a", failures[0]), pure)
    assert told is pure and made == ["compiled", "pure"]
    assert both.did == {"compiled": 1, "both": 1}


def test_a_difference_is_a_failure() -> None:
    """Of what broke, of the trace, or of a count: the command that shows it again is of the compiled run."""
    broken = Violation(2.0, "no exception", "TypeError: frozenset object expected; got set")
    told, _, both = run(Case(PLAIN), report(PLAIN, "1-b", broken), report(PLAIN))
    assert told.failure is not None and told.failure.promise == SAME and told.failure.at == 2.0
    assert told.failure.text.startswith("compiled: trace 1-b, no exception: TypeError")
    assert told.failure.text.endswith("in pure Python: trace 1-a, all held")
    assert both.did["differ"] == 1
    assert failure_lines(told, Case(PLAIN))[1] == "replay: python -m tests.sim --seed 001001 --compiled"
    assert SAME in sweep.ELSEWHERE  # nothing to make smaller in pure Python
    for other in (report(PLAIN, "1-b"), report(PLAIN, acked=4)):
        found = agreed(other, report(PLAIN, acked=5)).failure
        assert found is not None and found.promise == SAME
    assert "compiled: acked 4; in pure Python: acked 5" in str(found)


def test_a_failure_in_pure_python_stays_what_it_is() -> None:
    """Though it is not the one that the compiled run showed; that is told behind it."""
    told = agreed(report(PLAIN, "1-b", Violation(1.0, "E6", "x")), report(PLAIN, "1-a", Violation(2.0, "S3", "y")))
    assert told.failure is not None and told.failure.promise == "S3"
    assert "compiled: trace 1-b, E6: x at 1.000000 s" in told.details


def test_a_machine_put_back_is_pure_python_only() -> None:
    """A deep copy of compiled objects would be none."""
    plan, _ = draw(PLAIN, 3)
    assert fits(replace(plan, faults=()))
    assert not fits(replace(plan, faults=(Fault("snapshot", 5.0, 6.0, (1,)),)))
    seed = next(seed for seed in range(0x1000, 0x1100) if not fits(draw(seed)[0]))
    _, made, both = run(Case(seed), report(seed), report(seed))
    assert made == ["pure"] and both.did == {"pure": 1}


DATACLASSES = """
from __future__ import annotations
from dataclasses import dataclass, field

LIMIT = 4
ONE, OTHER = 1, 2

@dataclass(slots=True)
class Token:
    seq: int
    seen: list[int] = field(default_factory=list)
    by: dict[int, int] = field(default_factory=lambda: {1: LIMIT})
    note: str = field(default="", compare=False)
    twice: int = 0

    def __post_init__(self) -> None:
        self.twice = 2 * self.seq

@dataclass(frozen=True, slots=True)
class Ring:
    '''A ring.'''
    representative: int
    seq: int = LIMIT
    names: dict[int, str] = field(default_factory=dict, hash=False)

@dataclass(frozen=True, slots=True, order=True)
class Place:
    line: int
    column: int = 0

@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    wait: bool = False

@dataclass(slots=True, eq=False)
class Same:
    at: float
"""


def loaded(text: str) -> dict[str, Any]:
    made: dict[str, Any] = {"__name__": __name__}
    exec(compile(text, "module", "exec"), made)
    return made


def test_a_dataclass_written_out_is_the_same() -> None:
    """Made, compared, hashed, shown and replaced as before."""
    plain, written = loaded(DATACLASSES), loaded(rewritten(DATACLASSES))

    def told(module: dict[str, Any]) -> list[object]:
        token, ring, place = module["Token"], module["Ring"], module["Place"]
        some = [
            token(3),
            token(3, [1], note="x"),
            ring(1),
            ring(2, 3, {1: "a"}),
            place(1),
            module["Options"](wait=True),
        ]
        return [
            [repr(each) for each in some],
            [one == other for one in some for other in some],
            [[field.name for field in fields(each)] for each in some],
            [hash(each) for each in some[2:]],
            [repr(replace(some[0], seq=5)), repr(replace(some[3], seq=9))],
            token(3, note="a") == token(3, note="b"),
            token(1).seen is token(1).seen,
            place(1) < place(1, 2),
            module["Same"](1.0) == module["Same"](1.0),
            token.__hash__ is None,
            ring.__match_args__,
        ]

    assert told(plain) == told(written)
    for module in (plain, written):
        with pytest.raises(TypeError):
            module["Options"](True)
    with pytest.raises(FrozenInstanceError):
        plain["Ring"](1).seq = 2
    assert "LIMIT: Final = 4" in rewritten(DATACLASSES) and "OTHER: Final = 2" in rewritten(DATACLASSES)


def test_what_the_simulator_replaces_can_be_replaced() -> None:
    """TAPPED names exactly the methods that a started process has replaced, and each stays a method that works."""
    plan = next(plan for seed in range(0x1000, 0x1100) if (plan := draw(seed, 1)[0]).settings.durability != "memory")
    host = Cluster(plan, plan.random("run"), Trace()).hosts[1]
    host.start()
    assert host.node is not None
    for part in (host.node.endpoint, host.node.endpoint.srp, host.node.votequorum):
        tapped = [name for name, value in vars(part).items() if isinstance(value, FunctionType)]
        assert sorted(name for name in tapped if hasattr(type(part), name)) == sorted(TAPPED[type(part).__name__])
    text = "class Srp:\n def __init__(self):\n  'Made.'\n def set_progress(self, value):\n  self.at = value\n"
    made = loaded(rewritten(text))["Srp"]()
    made.set_progress(3)
    assert made.at == 3 and "set_progress" in vars(made)
