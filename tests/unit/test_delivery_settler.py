"""What was said of leases is not lost when the log takes no command for a moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from raftcore.core.errors import Busy, NotAccepted, NotLeader, RaftError, TransferInProgress
from tests.delivery_world import Observed
from z4sql.delivery.settler import Settler
from z4sql.tasks._pb import command_pb2 as pb
from z4sql.tasks.life import LifeCommands, SettleKind, Settlement, SettleOutcome


@pytest.mark.parametrize("at_once", [True, False])
@pytest.mark.parametrize("refusal", [Busy(), TransferInProgress(), NotLeader()])
def test_a_refused_command_is_proposed_again(refusal: NotAccepted, at_once: bool) -> None:
    """Leadership may come back, after a transfer that failed; when it goes, the settler is stopped."""

    async def settle() -> None:
        loop = asyncio.get_running_loop()
        refusals = [refusal, refusal]
        answered: list[int] = []

        def propose(command: bytes, done: Callable[[bytes | RaftError], None]) -> None:
            if refusals:
                if at_once:
                    raise refusals.pop()
                loop.call_soon(done, refusals.pop())
                return
            loop.call_soon(done, bytes(len(pb.Command.FromString(command).settle.places)))

        def done(item: Settlement, outcome: SettleOutcome) -> None:
            assert outcome is SettleOutcome.DONE
            answered.append(item.token)

        settler = Settler(propose, LifeCommands(lambda: 1), Observed())
        for token in range(1, 4):
            settler.add(Settlement(b"\x01n" + bytes(16), token, SettleKind.ACK), done)
        async with asyncio.timeout(5):
            await settler.drained()
        assert answered == [1, 2, 3]

    asyncio.run(settle())
