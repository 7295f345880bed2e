"""``z4t check``: do all members hold the same state?"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from z4sql.client.access import Access

_PAUSE_S = 0.2
_CALL_TIMEOUT_S = 30.0

EQUAL, DIFFERENT, NOT_COMPARED = 0, 1, 4


@dataclass(slots=True, frozen=True)
class Answer:
    """What one member said; ``problem`` when it did not."""

    member: str
    applied_index: int = 0
    state_hash: str = ""
    problem: str = ""


def check(target: str, timeout_s: float, access: Access | None = None) -> int:
    """Ask every member of ``target``'s cluster for its state hash until all stand at one applied index.

    Prints a table; returns 0 when they are equal, 1 when they differ, 4 when they could not be compared
    within ``timeout_s``.
    """
    from z4sql.client.access import Access

    deadline = time.monotonic() + timeout_s
    while True:
        answers = _ask_all(target, deadline, access or Access())
        verdict = judge(answers)
        if verdict != NOT_COMPARED or time.monotonic() + _PAUSE_S >= deadline:
            break
        time.sleep(_PAUSE_S)
    print(table(answers))
    if verdict == DIFFERENT:
        print("z4t: the members' states differ at the same applied index", file=sys.stderr)
    if verdict == NOT_COMPARED:
        moving = "the members did not stand at one applied index: stop the writers"
        reason = next((answer.problem for answer in answers if answer.problem), moving)
        print(f"z4t: not compared: {reason}", file=sys.stderr)
    return verdict


def judge(answers: Sequence[Answer]) -> int:
    """Different as soon as two members differ at one index; equal only when all answered at the same."""
    hashes: dict[int, set[str]] = {}
    for answer in answers:
        if not answer.problem:
            hashes.setdefault(answer.applied_index, set()).add(answer.state_hash)
    if any(len(found) > 1 for found in hashes.values()):
        return DIFFERENT
    if len(hashes) == 1 and not any(answer.problem for answer in answers):
        return EQUAL
    return NOT_COMPARED


def table(answers: Sequence[Answer]) -> str:
    """The answers in columns."""
    rows = [("MEMBER", "APPLIED", "STATE")]
    for answer in answers:
        if answer.problem:
            rows.append((answer.member, "-", answer.problem))
        else:
            rows.append((answer.member, str(answer.applied_index), answer.state_hash))
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    return "\n".join(f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]}" for row in rows)


def _ask_all(target: str, deadline: float, access: Access) -> list[Answer]:
    from z4sql.api._pb import z4_pb2 as pb

    info = pb.ClusterInfo.FromString(
        _call(target, "GetClusterInfo", pb.GetClusterInfoRequest().SerializeToString(), deadline, access)
    )
    request = pb.CheckStateRequest(applied_index=info.applied_index).SerializeToString()
    if not info.members:
        return [_ask(info.server_id, target, request, deadline, access)]
    with ThreadPoolExecutor(len(info.members)) as threads:
        asked = [
            threads.submit(_ask, member.id, member.service_address, request, deadline, access)
            for member in info.members
        ]
        return [one.result() for one in asked]


def _ask(member: str, address: str, request: bytes, deadline: float, access: Access) -> Answer:
    import grpc

    from z4sql.api._pb import z4_pb2 as pb

    if not address:
        return Answer(member, problem=f"{member} has not registered its address")
    try:
        answer = pb.CheckStateResponse.FromString(_call(address, "CheckState", request, deadline, access))
    except grpc.RpcError as error:
        details = " ".join((error.details() or error.code().name).split())
        if error.code() is grpc.StatusCode.UNAVAILABLE and "connect" in details.lower():
            details = f"cannot reach {address}"
        if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            details = "no answer in time"
        return Answer(member, problem=f"{member}: {details}")
    return Answer(member, answer.applied_index, answer.state_hash)


def _call(address: str, method: str, request: bytes, deadline: float, access: Access) -> bytes:
    timeout_s = max(0.1, min(_CALL_TIMEOUT_S, deadline - time.monotonic()))
    with access.dial_blocking(address) as channel:
        call = channel.unary_unary(f"/z4.Admin/{method}")
        answer: bytes = call(request, timeout=timeout_s, metadata=access.metadata(address))
        return answer
