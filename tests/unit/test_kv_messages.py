"""What a node refuses before it does anything, and errors on their way to a client."""

from __future__ import annotations

import pytest

from raftcore.core.errors import DiskFull, OutcomeUnknown
from raftcore.kv import node
from raftcore.kv._pb.kv_pb2 import (
    ChangeMembers,
    Command,
    Delete,
    Failure,
    Get,
    Request,
    Scan,
    Set,
    Sweep,
)
from raftcore.kv.errors import BadRequest, Compacted, KvError, NotTheLeader, error_of, failure
from raftcore.kv.node import check


def writing(request_id: bytes = b"id", **operation) -> Request:
    return Request(write=Command(request_id=request_id, **operation))


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (writing(b"", set=Set(key=b"k")), "request_id"),
        (writing(b"i" * 65, set=Set(key=b"k")), "request_id"),
        (writing(set=Set(value=b"v")), "key"),
        (writing(delete=Delete()), "key"),
        (writing(set=Set(key=b"k", value=b"v" * (node.VALUE_BYTES_MAX + 1))), "value"),
        (writing(set=Set(key=b"k", expected_value=b"v", expected_version=1)), "expected_value"),
        (writing(sweep=Sweep(limit=1)), "operation"),
        (writing(), "operation"),
        (Request(get=Get(key=b"k" * (node.KEY_BYTES_MAX + 1))), "key"),
        (Request(scan=Scan(limit=0)), "limit"),
        (Request(scan=Scan(limit=node.SCAN_LIMIT_MAX + 1)), "limit"),
        (Request(change=ChangeMembers(action="add-node", name="n", address="nowhere")), "host:port"),
    ],
)
def test_a_field_out_of_range_is_named(request_: Request, named: str) -> None:
    with pytest.raises(BadRequest, match=named):
        check(request_)


@pytest.mark.parametrize(
    "request_",
    [
        writing(set=Set(key=b"k", expected_value=b"")),
        writing(delete=Delete(key=b"k")),
        Request(get=Get(key=b"k" * node.KEY_BYTES_MAX)),
        Request(scan=Scan(limit=node.SCAN_LIMIT_MAX)),
        Request(change=ChangeMembers(action="transfer")),
    ],
)
def test_what_is_in_range_passes(request_: Request) -> None:
    check(request_)


@pytest.mark.parametrize(
    "error",
    [BadRequest("no"), NotTheLeader("h:1"), NotTheLeader(""), Compacted("7"), OutcomeUnknown("who knows")],
    ids=repr,
)
def test_an_error_arrives_as_it_was_raised(error: Exception) -> None:
    arrived = error_of(Failure.FromString(failure(error).SerializeToString()))
    assert (type(arrived), str(arrived), arrived.args) == (type(error), str(error), error.args)


def test_an_error_of_no_kind_leaves_the_outcome_unknown() -> None:
    assert isinstance(error_of(failure(DiskFull("full"))), OutcomeUnknown)
    assert type(error_of(Failure(kind="FromTheFuture", detail="d"))) is KvError
