"""A module's source as mypyc can make most of it: the same program, said so that it needs to look up less at run time.

Three changes, each of which pure Python would not gain from, so the product is not written that way:

* a constant in capitals is Final: its value stands where it is used;
* a dataclass gets its `__init__`, `__eq__` and `__hash__` as source: those that `dataclass` makes at run time stay
  interpreted, and most of what a run allocates is dataclasses;
* a method that the simulator replaces on an object (TAPPED) becomes an attribute: a compiled object has no place for
  another function under the name of a method.

Comments are lost and lines move: whoever wants to read or trace a run has pure Python for it.
"""

from __future__ import annotations

import ast
from collections import Counter
from dataclasses import dataclass

# By class: what tests/sim/tap.py and tests/sim/checkers/verdicts.py replace.
TAPPED = {
    "Endpoint": ("next_event", "submit"),
    "Srp": ("set_progress",),
    "Votequorum": (
        "beat",
        "cancel_wait_for_all",
        "handle_timeout",
        "leave",
        "left",
        "limit_exclusion",
        "next_event",
        "receive",
        "reconfigure",
        "set_device",
        "set_expected",
        "set_votes",
        "sync_activate",
        "sync_init",
        "sync_state",
    ),
}
NO_CONSTANT = ("TypeVar", "NewType", "ParamSpec")
MADE = ("init", "eq", "order", "unsafe_hash", "frozen", "slots")  # of dataclass's options: not handed on


def rewritten(text: str) -> str:
    """The source to compile instead of `text`. Raises SyntaxError."""
    tree = ast.parse(text)
    assigned = _assigned(tree)
    tree.body = [made for node in tree.body for made in _statement(node, assigned)]
    at = next((at for at, node in enumerate(tree.body, 1) if _is_future(node)), 0)
    tree.body.insert(at, ast.parse("from typing import Any, Final").body[0])
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _assigned(tree: ast.Module) -> Counter[str]:
    """How often each name is given a value, anywhere in the module."""
    return Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store))


def _statement(node: ast.stmt, assigned: Counter[str]) -> list[ast.stmt]:
    """What stands in the module instead of this statement of it."""

    def constant(target: ast.expr) -> bool:
        return isinstance(target, ast.Name) and target.id.strip("_").isupper() and assigned[target.id] == 1

    match node:
        case ast.Assign(targets=[ast.Name() as target], value=value) if constant(target) and not _makes_type(value):
            return [_final(target, value)]
        case ast.Assign(targets=[ast.Tuple(elts=names)], value=ast.Tuple(elts=values)) if all(map(constant, names)):
            return [_final(target, value) for target, value in zip(names, values, strict=True)]
        case ast.AnnAssign(target=target, annotation=kind, value=ast.expr()) if constant(target):
            if ast.unparse(kind) != "TypeAlias" and "Final" not in ast.unparse(kind):
                node.annotation = ast.Subscript(ast.Name("Final"), kind)
        case ast.ClassDef():
            _write_out(node)
            if node.name in TAPPED:
                _open_for_taps(node, TAPPED[node.name])
    return [node]


def _makes_type(value: ast.expr) -> bool:
    return isinstance(value, ast.Call) and ast.unparse(value.func) in NO_CONSTANT


def _final(target: ast.expr, value: ast.expr) -> ast.stmt:
    assert isinstance(target, ast.Name)
    return ast.AnnAssign(target, ast.Name("Final"), value, simple=1)


# -- dataclasses -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Field:
    """One field of a dataclass; empty: not said."""

    name: str
    kind: str
    default: str = ""
    made: str = ""  # what makes the default
    compared: bool = True
    hashed: bool = True


def _write_out(node: ast.ClassDef) -> None:
    """Give a dataclass its methods as source; one that is out of the ordinary stays as it is."""
    found = [at for at, each in enumerate(node.decorator_list) if ast.unparse(each).startswith("dataclass")]
    fields = _fields(node)
    if not found or node.bases or not fields:
        return
    decorator = node.decorator_list[found[0]]
    options = {each.arg or "": ast.unparse(each.value) for each in getattr(decorator, "keywords", [])}
    own = {each.name for each in node.body if isinstance(each, ast.FunctionDef)}
    methods = [_init(fields, "__post_init__" in own, options.get("kw_only") == "True")]
    kept = {"init": "False", **{name: value for name, value in options.items() if name not in MADE}}
    if options.get("order") == "True" or {"__init__", "__eq__", "__hash__"} & own:
        kept |= {name: options[name] for name in ("eq", "order", "unsafe_hash", "frozen") if name in options}
        if "frozen" in kept:  # nothing in compiled code could set a field of it, __init__ neither
            kept["unsafe_hash"] = kept.pop("frozen")
    else:
        kept["eq"] = "False"
        if options.get("eq") != "False":
            methods += [_eq(node.name, fields), *([_hash(fields)] if options.get("frozen") == "True" else [])]
    keywords = ", ".join(f"{name}={value}" for name, value in kept.items())
    node.decorator_list[found[0]] = ast.parse(f"dataclass({keywords})", mode="eval").body
    node.body += [each for text in methods for each in ast.parse(text).body]


def _fields(node: ast.ClassDef) -> list[Field]:
    """All fields in order; none where one of them says what is not known here."""
    found = []
    for each in node.body:
        if not isinstance(each, ast.AnnAssign) or not isinstance(each.target, ast.Name):
            continue
        field = Field(each.target.id, ast.unparse(each.annotation))
        if field.kind.startswith("ClassVar"):
            continue
        if field.name in ("bytes", "int", "str"):  # behind it in the class, the type's name means the field
            return []
        if isinstance(each.value, ast.Call) and ast.unparse(each.value.func) == "field":
            said = {option.arg: option.value for option in each.value.keywords}
            for name, value in said.items():
                match name:
                    case "default":
                        field.default = ast.unparse(value)
                    case "default_factory":
                        field.made = _call_of(value)
                    case "compare":
                        field.compared = ast.unparse(value) == "True"
                    case "hash":
                        field.hashed = ast.unparse(value) == "True"
                    case "repr":
                        pass
                    case _:
                        return []
        elif each.value is not None:
            field.default = ast.unparse(each.value)
        if field.made and "None" in field.kind:  # None says below that it was not given
            return []
        found.append(field)
    return found


def _call_of(factory: ast.expr) -> str:
    if isinstance(factory, ast.Lambda):
        return ast.unparse(factory.body)
    return {"list": "[]", "dict": "{}"}.get(name := ast.unparse(factory), f"{name}()")


def _init(fields: list[Field], post: bool, kw_only: bool) -> str:
    taken, body = [], []
    for field in fields:
        if field.made:
            taken.append(f"{field.name}: {field.kind} | None = None")
            body.append(f"self.{field.name} = {field.made} if {field.name} is None else {field.name}")
        else:
            taken.append(f"{field.name}: {field.kind}" + (f" = {field.default}" if field.default else ""))
            body.append(f"self.{field.name} = {field.name}")
    first = "self, *, " if kw_only else "self, "
    lines = [*body, *(["self.__post_init__()"] if post else [])]
    return f"def __init__({first}{', '.join(taken)}) -> None:\n" + "\n".join(f"    {line}" for line in lines)


def _eq(name: str, fields: list[Field]) -> str:
    same = " and ".join(f"self.{field.name} == other.{field.name}" for field in fields if field.compared) or "True"
    return (
        "def __eq__(self, other: object) -> bool:\n"
        f"    if not isinstance(other, {name}):\n        return NotImplemented\n    return {same}"
    )


def _hash(fields: list[Field]) -> str:
    values = "".join(f"self.{field.name}, " for field in fields if field.compared and field.hashed)
    return f"def __hash__(self) -> int:\n    return hash(({values}))"


# -- taps ------------------------------------------------------------------------------------------------------------


def _open_for_taps(node: ast.ClassDef, names: tuple[str, ...]) -> None:
    """Each of these methods under another name, and an attribute of its own name that holds it."""
    for each in node.body:
        if not isinstance(each, ast.FunctionDef):
            continue
        if each.name == "__init__":
            first = 1 if ast.get_docstring(each) is not None else 0
            lines = "\n".join(f"self.{name}: Any = self._own_{name}" for name in names)
            each.body[first:first] = ast.parse(lines).body
        elif each.name in names:
            each.name = f"_own_{each.name}"
