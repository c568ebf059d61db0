"""Plans as files: what one run does, kept word for word, whatever later seeds draw.

A file is JSON: `plan` holds every field of Plan and of the values in it; `found` says in a sentence what the run
showed, and `promise` which promise it broke, when it was stored. A field that came later than a file gets the default
of its dataclass: so whoever adds a field gives it the default that runs had before it. A field that nobody knows is an
error, and so is a value of another type.
"""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

from tests.sim.plan import Plan

FOUND = Path(__file__).with_name("found")  # one file for each failure that was mended


class NoPlan(ValueError):  # noqa: N818  the field's word
    """This text is no stored plan; says where and why."""


@dataclass(frozen=True, slots=True)
class Stored:
    """A plan with what is known of it."""

    plan: Plan
    found: str = ""
    promise: str = ""

    def text(self) -> str:
        """Raises nothing; `read` makes the same of it."""
        head = {"found": self.found, "promise": self.promise, "plan": plain(self.plan)}
        return _laid_out(head) + "\n"


def read(text: str) -> Stored:
    """Raises NoPlan."""
    try:
        made = json.loads(text)
    except ValueError as error:
        raise NoPlan(f"not JSON: {error}") from None
    result = value_of(Stored, made, "")
    assert isinstance(result, Stored)
    return result


def load(file: Path) -> Stored:
    """Raises NoPlan, naming the file, and OSError."""
    try:
        return read(file.read_text())
    except NoPlan as error:
        raise NoPlan(f"{file}: {error}") from None


def stored_plans() -> list[Path]:
    """Every plan that is kept, by name: each broke a promise once."""
    return sorted(FOUND.glob("*.json"))


def plain(value: object) -> Any:
    """What JSON can say, of a dataclass and whatever is in it."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    return value


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def value_of(kind: Any, made: Any, where: str) -> Any:
    """The value of type `kind` that `plain` made `made` of. where: its place in the file. Raises NoPlan."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _one_of(inside, made, where)
    if origin is tuple:
        if not isinstance(made, list) or (inside[-1] is not Ellipsis and len(made) != len(inside)):
            raise _wrong(where, "a list", made)
        kinds = (inside[0],) * len(made) if inside[-1] is Ellipsis else inside
        pairs = zip(kinds, made, strict=True)
        return tuple(value_of(each, value, f"{where}[{at}]") for at, (each, value) in enumerate(pairs))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(made, dict):
            raise _wrong(where, "a table", made)
        of = inside[0]
        return {_key(of, key, where): value_of(inside[1], value, f"{where}.{key}") for key, value in made.items()}
    if is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, made, where)
    if kind is float and type(made) is int:
        return float(made)
    if type(made) is not kind:
        raise _wrong(where, kind.__name__, made)
    return made


def _one_of(kinds: tuple[Any, ...], made: Any, where: str) -> Any:
    for kind in kinds:
        try:
            return value_of(kind, made, where)
        except NoPlan:
            continue
    raise _wrong(where, " or ".join(str(getattr(kind, "__name__", kind)) for kind in kinds), made)


def _key(kind: Any, key: str, where: str) -> Any:
    if kind is str:
        return key
    if not key.isdigit():
        raise _wrong(where, "numbers as keys", key)
    return int(key)


def _dataclass(kind: type, made: Any, where: str) -> Any:
    if not isinstance(made, dict):
        raise _wrong(where, "a table", made)
    known = {each.name: each for each in fields(kind)}
    if unknown := sorted(set(made) - set(known)):
        raise NoPlan(f"{where or 'the file'}: nobody knows {', '.join(unknown)} (a later version wrote it?)")
    needed = [name for name, each in known.items() if each.default is MISSING and each.default_factory is MISSING]
    if missing := [name for name in needed if name not in made]:
        raise NoPlan(f"{where or 'the file'}: {', '.join(missing)} is missing")
    hints = _hints(kind)
    return kind(**{name: value_of(hints[name], value, f"{where}.{name}".lstrip(".")) for name, value in made.items()})


def _wrong(where: str, expected: str, made: Any) -> NoPlan:
    return NoPlan(f"{where or 'the file'}: {expected} expected, not {str(made)[:60]!r}")


def _laid_out(value: Any, indent: str = "") -> str:
    """JSON in which whatever fits in a line has one, so that a change of one thing is a change of one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(indent) + len(flat) <= 116 or not isinstance(value, dict | list) or not value:
        return flat
    deeper = indent + "  "
    if isinstance(value, dict):
        parts = [f"{json.dumps(key)}: {_laid_out(each, deeper)}" for key, each in value.items()]
        return "{\n" + ",\n".join(deeper + part for part in parts) + f"\n{indent}}}"
    return "[\n" + ",\n".join(deeper + _laid_out(each, deeper) for each in value) + f"\n{indent}]"
