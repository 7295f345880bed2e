"""What clients saw, judged against what was committed.

Every command carries an id of its own. A write that failed is *unknown* unless the error says `NotAccepted`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from raftcore.core.errors import NotAccepted, OutcomeUnknown, RaftError, ReadFailed
from raftcore.core.types import Entry, EntryKind, Index, NodeId
from raftcore.replica.group import decode_group
from raftcore.sim.trace import demand

_ID = struct.Struct("<Q")


@dataclass(slots=True)
class _Call:
    node: NodeId
    life: int
    floor: Index = Index(0)  # noqa: RUF009
    """What was committed when the call began."""
    outcome: bytes | Index | RaftError | None = None


class Oracle:
    """Acknowledged writes are never lost, refused ones never appear, none appears twice, reads are fresh."""

    def __init__(self, committed_end: Callable[[], Index]) -> None:
        self._commit = committed_end
        self._calls: list[_Call] = []
        self._placed: dict[int, bytes] = {}
        """Where each command was committed: ``index.position``."""
        self._refused: set[int] = set()
        self.acknowledged_count = 0
        self.refused_count = 0
        self.unknown_count = 0
        self.read_count = 0
        self.change_count = 0

    def begin(self, node: NodeId, life: int) -> int:
        """A client call starts at ``node``; returns its id."""
        self._calls.append(_Call(node, life, self._commit()))
        return len(self._calls) - 1

    @staticmethod
    def command(call: int, padding: int) -> bytes:
        return _ID.pack(call) + bytes(padding)

    def committed(self, index: Index, entry: Entry) -> None:
        """``entry`` is the truth at ``index`` from now on."""
        if entry.kind != EntryKind.COMMANDS:
            return
        for position, command in enumerate(decode_group(entry.data)):
            (call,) = _ID.unpack_from(command)
            demand(call not in self._placed, "a command is applied at most once", call=call, index=index)
            demand(call not in self._refused, "a refused command never appears", call=call, index=index)
            self._placed[call] = b"%d.%d" % (index, position)

    def refused(self, call: int) -> None:
        """The call was refused at once: nothing will ever be heard of it."""
        self._end(call, NotAccepted("at once"))
        self._refuse(call)

    def write_ended(self, call: int, outcome: bytes | RaftError) -> None:
        self._end(call, outcome)
        if isinstance(outcome, bytes):
            self.acknowledged_count += 1
            demand(
                self._placed.get(call) == outcome,
                "an acknowledged write is committed, and the answer is its own",
                call=call,
                outcome=outcome,
                placed=self._placed.get(call),
            )
        elif isinstance(outcome, NotAccepted):
            self._refuse(call)
        else:
            demand(isinstance(outcome, OutcomeUnknown), "a write ends in one of three ways", outcome=outcome)
            self.unknown_count += 1

    def read_ended(self, call: int, outcome: Index | RaftError, applied: Index) -> None:
        self._end(call, outcome)
        if isinstance(outcome, RaftError):
            demand(isinstance(outcome, ReadFailed | NotAccepted), "a read fails cleanly", outcome=outcome)
            return
        self.read_count += 1
        demand(
            self._calls[call].floor <= outcome <= applied,
            "a read sees everything committed before it began, and what it sees is applied",
            call=call,
            committed_at_begin=self._calls[call].floor,
            read_index=outcome,
            applied=applied,
        )

    def change_ended(self, call: int, outcome: Index | RaftError) -> None:
        self._end(call, outcome)
        if not isinstance(outcome, RaftError):
            self.change_count += 1
            demand(outcome <= self._commit(), "a finished change is committed", call=call, index=outcome)

    def stopped(self, node: NodeId, life: int) -> None:
        """The process ended in order: its clients have heard of everything."""
        open_calls = [
            number
            for number, call in enumerate(self._calls)
            if call.outcome is None and call.node == node and call.life == life
        ]
        demand(not open_calls, "stopping ends every call", node=node, open=open_calls[:10])

    def crashed(self, node: NodeId, life: int) -> None:
        """The process died: its clients hear nothing any more."""
        for call in self._calls:
            if call.outcome is None and call.node == node and call.life == life:
                call.outcome = OutcomeUnknown("the peer died")
                self.unknown_count += 1

    def succeeded(self, call: int) -> bool:
        """The call has ended, and not with an error."""
        outcome = self._calls[call].outcome
        return outcome is not None and not isinstance(outcome, RaftError)

    def all_ended(self) -> None:
        open_calls = [number for number, call in enumerate(self._calls) if call.outcome is None]
        demand(not open_calls, "every call ends", open=open_calls[:10], count=len(open_calls))

    def _end(self, call: int, outcome: bytes | Index | RaftError) -> None:
        demand(
            self._calls[call].outcome is None,
            "a call ends once",
            call=call,
            first=self._calls[call].outcome,
            second=outcome,
        )
        self._calls[call].outcome = outcome

    def _refuse(self, call: int) -> None:
        self.refused_count += 1
        demand(call not in self._placed, "a refused write is in no log", call=call, at=self._placed.get(call))
        self._refused.add(call)
