"""Every target by name; a target takes any bytes, and raises only when something is wrong.

The modules are imported by `load`, so that tests/fuzz/worker.py can have them watched for coverage; without it they
are imported as plain ones.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

Target = Callable[[bytes], None]

NAMES = {
    "datagrams": "edges",
    "handshake": "edges",
    "links": "edges",
    "fragments": "edges",
    "formats": "formats",
    "ring": "ring",
    "barrier": "services",
    "groups": "services",
    "quorum": "services",
    "reconfigure": "reconfiguring",
    "replica": "storing",
    "log": "storing",
    "database": "storing",
    "records": "formats",
    "state_files": "statefiles",
    "config": "formats",
    "local_socket": "edges",
}
"""Target -> the module of this package that has a function of that name."""

CORPUS = Path(__file__).resolve().parent / "corpus"
"""A folder for each target: inputs that fuzzing found worth keeping; `broke-...` are those that once broke it."""

TARGETS: dict[str, Target] = {}
"""Filled by `load`."""


def load() -> dict[str, Target]:
    """Import the modules; once."""
    for name, module in NAMES.items():
        if name not in TARGETS:
            TARGETS[name] = getattr(import_module(f"tests.fuzz.{module}"), name)
    return TARGETS
