"""docs/client.md is true: its examples run, its table of errors is complete."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import clusterd.client as client_package
from clusterd.client import AsyncClient, Client, ClientError, OutcomeUnknown
from tests.clusterd.conftest import Served
from tests.clusterd.fake import UNKNOWN

TEXT = (Path(__file__).parents[3] / "docs" / "client.md").read_text()


def function(name: str) -> Any:
    """A function of one of the examples."""
    block = next(code for code in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if f"def {name}" in code)
    space: dict[str, Any] = dict(vars(client_package))
    exec(block, space)
    return space[name]


def test_the_retry_example_finishes_the_same_operation(node: Served):
    """The operation id of the unknown outcome is given again."""
    node.backend.fail = UNKNOWN
    with Client(node.path) as cluster:
        function("surely_put")(cluster, "a", b"x")
    assert len(node.backend.calls) == 2
    assert node.backend.calls[1] == UNKNOWN.operation_id


def test_the_compare_and_set_example_counts(node: Served):
    """Read, compare, set."""
    with Client(node.path) as cluster:
        cluster.put("n", b"41")
        function("increment")(cluster, "n")
        assert cluster.cat("n")["data"] == b"42"


def test_every_error_and_every_call_is_described():
    """Nothing public is left out."""
    for name in client_package.__all__:
        assert f"`{name}`" in TEXT or name in ("AsyncClient", "Client", "ClientError"), name
    calls = {name for name in vars(Client) if not name.startswith("_")} - {"close", "set_cuts"}
    for name in calls:
        assert f"{name}(" in TEXT, name


def test_both_clients_have_the_same_methods():
    """The same methods to await."""
    assert {n for n in vars(Client) if not n.startswith("_")} == {n for n in vars(AsyncClient) if not n.startswith("_")}
    assert issubclass(OutcomeUnknown, ClientError)
