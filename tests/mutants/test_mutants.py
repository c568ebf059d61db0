"""The mutants themselves: each can be applied, is well described and known; and what changes nothing is not caught."""

from __future__ import annotations

import pickle
import subprocess
import sys

import pytest

from tests.mutants import runs
from tests.mutants.mutant import ROOT, DoesNotApply, Mutant, module_name, patched

LEAST = 36


def test_each_text_is_there_once_and_what_comes_of_it_compiles() -> None:
    """A mutant that no longer applies proves nothing: it is a failure, not a pass."""
    assert runs.problems_of_texts(runs.mutants()) == []
    for mutant in runs.mutants():
        for file, text in patched(mutant).items():
            assert text != (ROOT / file).read_text(), mutant.name
            compile(text, file, "exec")


def test_there_are_enough_with_names_of_their_own() -> None:
    """At least 30 over transport, quorum and cfs; none survives."""
    names = [mutant.name for mutant in runs.mutants()]
    assert len(set(names)) == len(names) >= LEAST
    assert set(runs.known_seeds()) == set(names), "python -m tests.mutants --refresh"


def test_each_says_what_it_breaks() -> None:
    """One promise, or why there are several."""
    for mutant in runs.mutants():
        assert all(mutant.promises) and mutant.promises, mutant.name
        assert mutant.several.endswith(".") if len(mutant.promises) > 1 else not mutant.several, mutant.name
        assert mutant.why.endswith("."), mutant.name


def test_a_text_that_is_not_there_is_refused() -> None:
    with pytest.raises(DoesNotApply, match="0 times in cfs"):
        patched(Mutant("none", "cfs/log.py", "no such text", "", "S1", "None."))


def test_a_change_without_effect_is_not_caught() -> None:
    """A judge that catches everything says nothing."""
    noop = Mutant("none", "cfs/log.py", "KEPT_EPOCHS,\n", "KEPT_EPOCHS,  # as it was\n", "S1", "Nothing.", within=2)
    code = "import pickle, sys; from tests.mutants import runs; print(runs.look(pickle.loads(sys.stdin.buffer.read())))"
    for harness in ("sim", "ring", "store:majority"):
        mutant = Mutant(noop.name, noop.file, noop.old, noop.new, noop.breaks, noop.why, noop.within, harness)
        done = subprocess.run(
            [sys.executable, "-c", code], input=pickle.dumps(mutant), capture_output=True, check=True, cwd=ROOT
        )
        assert b"SURVIVES  2 seeds" in done.stdout and b"also" not in done.stdout, done.stdout


def test_the_file_stays_and_the_module_changes() -> None:
    """Applied in a process of its own by an import hook; nothing on disk is touched."""
    code = (
        "from tests.mutants.mutant import Mutant, apply\n"
        "apply(Mutant('m', 'quorum/lease.py', 'SHARE = 0.8\\n', 'SHARE = 1.6\\n', 'Q4', 'Longer.'))\n"
        "import quorum.lease as lease\n"
        "print(lease.SHARE, lease.__name__, lease.__file__.endswith('quorum/lease.py'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["1.6", "quorum.lease", "True"]
    assert "SHARE = 0.8\n" in (ROOT / "quorum/lease.py").read_text()


def test_names_of_modules() -> None:
    assert module_name("transport/totem/ring.py") == "transport.totem.ring"


def test_each_is_in_the_documentation() -> None:
    """docs/simulator.md, "Mutants": `python -m tests.mutants --list` prints its table."""
    lines = (ROOT / "docs/simulator.md").read_text().splitlines()
    assert [mutant.name for mutant in runs.mutants() if runs.row(mutant) not in lines] == []
