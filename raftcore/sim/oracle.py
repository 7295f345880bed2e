"""What clients saw, judged against what was committed.

Every command carries an id of its own, which is also the value that it writes to one of a few registers. A
write that failed is *unknown* unless the error says `NotAccepted`. Besides the rules that can be checked at
once, the whole history must be linearizable in the end.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from raftcore.core.errors import NotAccepted, OutcomeUnknown, RaftError, ReadFailed
from raftcore.core.types import Entry, EntryKind, Index, NodeId
from raftcore.replica.group import decode_group
from raftcore.sim.linearizability import Kind, Operation, Undecided, check
from raftcore.sim.machine import decode_command, encode_command
from raftcore.sim.trace import Violation, demand

_KEYS = 3


@dataclass(slots=True)
class _Call:
    node: NodeId
    life: int
    floor: Index = Index(0)  # noqa: RUF009
    """What was committed when the call began."""
    outcome: bytes | Index | RaftError | None = None
    kind: Kind | None = None
    """None is a change of the membership."""
    invoked_at: int = 0
    returned_at: int | None = None
    seen: int | None = None
    """What a read has read."""


class Oracle:
    """Acknowledged writes are never lost, refused ones never appear, none appears twice, reads are fresh."""

    def __init__(self, committed_end: Callable[[], Index]) -> None:
        self._commit = committed_end
        self._calls: list[_Call] = []
        self._event_count = 0
        """The clock of the history: each beginning and each end has an instant of its own."""
        self._placed: dict[int, bytes] = {}
        """Where each command was committed: ``index.position``."""
        self._refused: set[int] = set()
        self.acknowledged_count = 0
        self.refused_count = 0
        self.unknown_count = 0
        self.read_count = 0
        self.change_count = 0

    def begin(self, node: NodeId, life: int, kind: Kind | None = None) -> int:
        """A client call starts at ``node``; returns its id."""
        self._event_count += 1
        self._calls.append(_Call(node, life, self._commit(), None, kind, self._event_count))
        return len(self._calls) - 1

    @staticmethod
    def key_of(call: int) -> int:
        """The register that the call is about."""
        return call % _KEYS

    def command(self, call: int, padding: int) -> bytes:
        return encode_command(call, self.key_of(call), padding)

    def committed(self, index: Index, entry: Entry) -> None:
        """``entry`` is the truth at ``index`` from now on."""
        if entry.kind != EntryKind.COMMANDS:
            return
        for position, command in enumerate(decode_group(entry.data)):
            call, _ = decode_command(command)
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

    def read_ended(self, call: int, outcome: Index | RaftError, applied: Index, register: int | None) -> None:
        """``register`` is what the machine, which stands at ``applied``, holds of the call's key."""
        self._end(call, outcome)
        self._calls[call].seen = register
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

    def linearizable(self) -> None:
        """Some order of all calls explains what every client saw."""
        try:
            violation = check(self.history())
        except Undecided as error:
            raise Violation(f"whether what clients saw is linearizable can be decided: {error}") from error
        if violation is not None:
            raise Violation(f"what clients saw is linearizable: {violation}")

    def history(self) -> list[Operation]:
        """The calls that may have had an effect, or have seen one."""
        operations = []
        for number, call in enumerate(self._calls):
            is_read = call.kind is Kind.READ
            if call.kind is None or isinstance(call.outcome, NotAccepted | ReadFailed):
                continue
            is_known = not isinstance(call.outcome, OutcomeUnknown)
            operations.append(
                Operation(
                    process=f"peer {call.node}",
                    kind=call.kind,
                    key=self.key_of(number),
                    value=None if is_read else number,
                    invoked_at=call.invoked_at,
                    returned_at=call.returned_at if is_known else None,
                    result=call.seen if is_read else None,
                )
            )
        return operations

    def _end(self, call: int, outcome: bytes | Index | RaftError) -> None:
        demand(
            self._calls[call].outcome is None,
            "a call ends once",
            call=call,
            first=self._calls[call].outcome,
            second=outcome,
        )
        self._event_count += 1
        self._calls[call].outcome = outcome
        self._calls[call].returned_at = self._event_count

    def _refuse(self, call: int) -> None:
        self.refused_count += 1
        demand(call not in self._placed, "a refused write is in no log", call=call, at=self._placed.get(call))
        self._refused.add(call)
