"""This node's own operations under way."""

import pytest

from cfs.messages import Kind, Operation
from cfs.proposals import Proposals
from cfs.status import StoreSettings
from transport.errors import Refused


def put(data: bytes, time: int) -> Operation:
    operation = Operation(b"i" * 16, Kind.PUT, "a", data)
    operation.writer, operation.time = 1, time
    return operation


def test_an_identical_retry_while_the_first_is_under_way_is_the_same_operation():
    """Exactly once (S3): a client that lost its connection asks again, a moment later, with the same id."""
    proposals = Proposals(StoreSettings())
    assert proposals.add(put(b"x", time=1), 0.0) is not None
    assert proposals.add(put(b"x", time=2), 0.1) is None
    assert len(proposals) == 1


def test_what_the_client_knew_of_the_log_is_no_part_of_the_content():
    """The first one sent decides: what is under way is not changed by a retry."""
    proposals = Proposals(StoreSettings())
    first, again = put(b"x", time=1), put(b"x", time=2)
    first.since, again.since = 7, 9
    pending = proposals.add(first, 0.0)
    assert proposals.add(again, 0.1) is None
    assert pending is not None
    assert pending.operation.since == 7


def test_an_id_used_for_something_else_is_refused():
    """It would be answered with the other one's outcome."""
    proposals = Proposals(StoreSettings())
    proposals.add(put(b"x", time=1), 0.0)
    with pytest.raises(Refused):
        proposals.add(put(b"y", time=2), 0.1)
