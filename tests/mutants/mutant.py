"""One mutant: a small change of the product's text that breaks one promise, applied to one process only.

The file on disk is never touched: an import hook gives the module that has the text another one. `apply` must come
before anything of the product is imported, so each mutant gets a process of its own (tests/mutants/runs.py).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FIRST = 0x1000  # the seeds of a mutant count up from here


class DoesNotApply(Exception):  # noqa: N818  the sentence tells the rest
    """The text to be replaced is not there exactly once: the mutant has to be written anew, or is none any more."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """file: of the product, as `cfs/primary.py`.  old: text that occurs in it exactly once.  new: what stands there
    in its place.  also: further (file, old, new) without which the first makes no sense.

    breaks: the promise by which it shows (DESIGN 4; E1-E15: totem.md section 1). Several only where chance decides
    which of them is broken first; `several` says why that is so.
    why: what it does, one sentence.  within: of so many seeds one catches it.
    harness: what runs a seed (tests/mutants/harness.py): `sim`, `ring`, `store:PROFILE` (also `store:episodes`),
    `votes`, `keys`, or what has no seeds: story, `story:test_an_even_split_of_four`, or a test, `test:cfs/test_log.py`.
    nodes: of `sim`, the cluster's size instead of the seed's own.  where: of `sim`, only seeds whose plan fulfils this;
    the others are not counted.
    """

    name: str
    file: str
    old: str
    new: str
    breaks: str | tuple[str, ...]
    why: str
    within: int = 30
    harness: str = "sim"
    nodes: int | None = None
    where: Callable[[Any], bool] | None = None
    also: tuple[tuple[str, str, str], ...] = ()
    several: str = ""

    @property
    def promises(self) -> tuple[str, ...]:
        return (self.breaks,) if isinstance(self.breaks, str) else self.breaks

    @property
    def seeds(self) -> int:
        """How many seeds there are to be tried."""
        return 1 if self.harness.startswith(("story:", "test:")) else self.within

    @property
    def edits(self) -> tuple[tuple[str, str, str], ...]:
        return ((self.file, self.old, self.new), *self.also)


def patched(mutant: Mutant) -> dict[str, str]:
    """Path -> the whole text with the mutant in it. Raises DoesNotApply."""
    texts: dict[str, str] = {}
    for file, old, new in mutant.edits:
        text = texts.get(file)
        if text is None:
            text = (ROOT / file).read_text()
        count = text.count(old)
        if count != 1:
            raise DoesNotApply(f"{mutant.name}: its text is {count} times in {file}, not once: {old.splitlines()[0]!r}")
        texts[file] = text.replace(old, new)
    return texts


def module_name(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


class _Loader(SourceFileLoader):
    """Compiles the text it was given; bytecode of the real file is neither used nor written."""

    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        made: CodeType = compile(self._text, self.path, "exec", dont_inherit=True)
        return made


class _Finder(MetaPathFinder):
    def __init__(self, texts: dict[str, str]) -> None:
        self._texts = {module_name(file): (str(ROOT / file), text) for file, text in texts.items()}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        found = self._texts.get(fullname)
        if found is None:
            return None
        return spec_from_file_location(fullname, found[0], loader=_Loader(fullname, *found))


def apply(mutant: Mutant) -> None:
    """From now on this process imports the product with the mutant in it. Raises DoesNotApply."""
    texts = patched(mutant)
    early = sorted(name for name in map(module_name, texts) if name in sys.modules)
    if early:
        raise RuntimeError(f"{mutant.name}: {', '.join(early)} was imported before the mutant was applied")
    sys.meta_path.insert(0, _Finder(texts))
