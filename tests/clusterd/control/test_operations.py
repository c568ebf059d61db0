"""The table of operations, each answer against its promised shape."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from cfs import errors as cfs
from clusterd.control.codes import EXIT_STATUS
from clusterd.control.errors import CODES, ConfigRefused, describe
from clusterd.control.operations import OPERATIONS, normalise
from tests.clusterd.fake import FakeBackend
from transport import errors

IDENT = "0" * 32

REQUESTS: dict[str, dict[str, Any]] = {
    "expected": {"votes": 3},
    "fs_put": {"path": "a", "data": b"x", "operation_id": IDENT},
    "fs_cas": {"path": "b", "data": b"x", "operation_id": "1" * 32, "revision": 0},
    "fs_write": {"path": "a", "offset": 1, "data": b"y", "operation_id": "2" * 32},
    "fs_mkdir": {"path": "d", "operation_id": "3" * 32},
    "fs_mv": {"path": "b", "to": "d/b", "operation_id": "4" * 32},
    "fs_cat": {"path": "a"},
    "fs_stat": {"path": "/a/"},
    "fs_ls": {"recursive": True},
    "fs_rm": {"path": "d", "recursive": True, "operation_id": "5" * 32},
    "fs_outcome": {"operation_id": IDENT},
    "lab_cuts": {"cuts": [{"from": 1, "to": 2, "link": 0}]},
}


def test_every_answer_has_the_promised_shape():
    """Names and types are promises. Run in the order of REQUESTS: the fake tree grows as it goes."""

    async def all_of_them() -> None:
        backend = FakeBackend()
        order = [name for name in REQUESTS if name.startswith("fs_")]
        rest = [name for name in OPERATIONS if name not in order]
        for name in [*order, *rest]:
            operation = OPERATIONS[name]
            if operation.run is None:
                continue
            request = operation.request.model_validate(REQUESTS.get(name, {}))
            answer = operation.run(backend, request)
            if asyncio.iscoroutine(answer):
                answer = await answer
            operation.answer.validate_python(answer, strict=True, extra="forbid")

    asyncio.run(all_of_them())


@pytest.mark.parametrize(
    "name, request_",
    [
        ("status", {"verbose": True}),  # a field nobody knows
        ("expected", {"votes": 0}),
        ("expected", {"votes": "3"}),
        ("expected", {}),
        ("fs_put", {"path": "a", "data": "text", "operation_id": IDENT}),
        ("fs_put", {"path": "a", "data": b"", "operation_id": "short"}),
        ("fs_put", {"path": "a", "data": b"", "operation_id": IDENT + "-"}),
        ("fs_put", {"path": "a", "data": b"", "operation_id": IDENT + "-" + "1" * 17}),
        ("fs_put", {"path": "a", "data": b"", "operation_id": IDENT + "-1F"}),
        ("fs_put", {"path": "", "data": b"", "operation_id": IDENT}),
        ("fs_put", {"path": "//", "data": b"", "operation_id": IDENT}),
        ("fs_put", {"path": "a", "data": b"", "operation_id": IDENT, "timeout": 0.0}),
        ("fs_put", {"path": "a", "data": b"", "operation_id": IDENT, "timeout": float("nan")}),
        ("fs_put", {"path": "x" * 10_000, "data": b"", "operation_id": IDENT}),
        ("fs_cas", {"path": "a", "data": b"", "operation_id": IDENT, "revision": -1}),
        ("fs_stat", {"path": "../etc/passwd"}),
        ("fs_stat", {"path": "a/./b"}),
        ("fs_stat", {"path": "a\0b"}),
        ("fs_ls", {"limit": 100_000}),
        ("lab_cuts", {"cuts": [{"from": 1, "to": 2, "link": 8}]}),
    ],
)
def test_requests_out_of_range_are_refused(name: str, request_: dict[str, Any]):
    """Nothing is guessed or converted."""
    with pytest.raises(ValidationError):
        OPERATIONS[name].request.model_validate(request_)


def test_a_leading_slash_is_allowed():
    """The command line contract: PATH is relative to the tree's root; a leading / is allowed."""
    assert [normalise(path) for path in ("/a/b", "a//b/", "a/b", "/")] == ["a/b", "a/b", "a/b", ""]


@pytest.mark.parametrize(
    "error, code",
    [
        (errors.NoQuorum("x"), "NO_QUORUM"),
        (errors.OutcomeUnknown("x", IDENT), "OUTCOME_UNKNOWN"),
        (cfs.Expired("x", IDENT), "OUTCOME_UNKNOWN"),
        (cfs.StagingGone("x"), "FAILED"),
        (errors.QueueFull("x"), "LIMIT"),
        (errors.TooLarge("x"), "LIMIT"),
        (errors.BadArgument("x"), "USAGE"),
        (errors.Refused("x"), "FAILED"),
        (cfs.NoSuchEntry("x"), "NOT_FOUND"),
        (cfs.Conflict("x", 7), "CONFLICT"),
        (cfs.Exists("x"), "CONFLICT"),
        (cfs.NotEmpty("x"), "CONFLICT"),
        (cfs.IsDirectory("x"), "FAILED"),
        (cfs.TooDeep("x"), "LIMIT"),
        (cfs.NoSpace("x"), "LIMIT"),
        (cfs.DiskFailed("x"), "LIMIT"),
        (cfs.Denied("x"), "DENIED"),
        (cfs.Compacted("x", 3), "FAILED"),
        (ConfigRefused("x", ("f:1: y",)), "CONFIG"),
    ],
)
def test_errors_and_their_codes(error: Exception, code: str):
    """The command line contract, the table of exit statuses."""
    answer = describe(error, 1)
    assert (answer["code"], answer["message"], answer["node"]) == (code, "x", 1)
    assert code in EXIT_STATUS


def test_every_refusal_of_the_store_has_a_place_in_the_table():
    """A class added to cfs gets its code by thought, not by falling through to FAILED."""
    plain = {cfs.IsDirectory, cfs.NotDirectory}
    listed = {kind for kind, _, _ in CODES}
    for name in cfs.__all__:
        kind = getattr(cfs, name)
        assert kind in listed | plain | {errors.ClusterError, errors.Refused}, name


def test_what_a_client_can_act_upon_is_told_as_a_word():
    """An id that is used up is another case than one that may have worked."""
    assert describe(cfs.Expired("x", IDENT), 1)["reason"] == "expired"
    assert describe(cfs.Expired("x", IDENT, never=True), 1)["reason"] == "stale"
    assert describe(cfs.StagingGone("x"), 1)["reason"] == "staging_gone"
    assert "reason" not in describe(errors.OutcomeUnknown("x", IDENT), 1)


def test_a_lost_compare_and_set_tells_the_current_revision():
    """The command line contract: CONFLICT carries current_revision."""
    assert describe(cfs.Conflict("x", 7), 1)["current_revision"] == 7
    assert describe(cfs.Exists("x"), 1)["current_revision"] is None
