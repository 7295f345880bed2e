"""What goes wrong, drawn from a seed: one trouble at a time, each with its end."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

from jepsen.cluster import Cluster, NodeProcess


class Nemesis:
    """Does harm to ``cluster`` until `running` ends; ``done`` lists what it did."""

    def __init__(self, cluster: Cluster, seed: int) -> None:
        self.done: list[str] = []
        self.running = True
        self._cluster = cluster
        self._dice = random.Random(f"{seed}/nemesis")
        self._troubles: list[Callable[[], Awaitable[str]]] = [
            self.kill_one,
            self.kill_leader,
            self.kill_all,
            self.pause_leader,
            self.transfer,
            self.remove_and_add,
        ]
        if cluster.network is not None:
            # Partitions are what the namespaces are for: half of all troubles.
            self._troubles += [self.isolate, self.isolate_leader, self.split, self.cut_one_way, self.ring]

    async def run(self) -> None:
        troubles: list[Callable[[], Awaitable[str]]] = []
        while self.running:
            if not troubles:
                # Every trouble comes before any comes again.
                troubles = self._dice.sample(self._troubles, len(self._troubles))
            self.done.append(await troubles.pop()())
            await asyncio.sleep(0.3 + self._dice.random())

    def _anybody(self) -> NodeProcess:
        return self._dice.choice(self._cluster.nodes)

    async def _leader(self) -> NodeProcess:
        anybody = self._anybody()
        return await self._cluster.leader() or anybody

    async def kill_one(self) -> str:
        return await self._kill(self._anybody())

    async def kill_leader(self) -> str:
        return await self._kill(await self._leader())

    async def _kill(self, node: NodeProcess) -> str:
        await node.kill()
        await asyncio.sleep(self._dice.random() * 1.5)
        await node.start()
        return f"killed {node.name}"

    async def kill_all(self) -> str:
        await asyncio.gather(*(node.kill() for node in self._cluster.nodes))
        await asyncio.gather(*(node.start() for node in self._cluster.nodes))
        return "killed all"

    async def pause_leader(self) -> str:
        node = await self._leader()
        node.pause()
        await asyncio.sleep(0.5 + self._dice.random() * 1.5)
        node.resume()
        return f"paused {node.name}"

    async def transfer(self) -> str:
        node = self._anybody()
        await self._cluster.transfer(node.name)
        return f"moved leadership to {node.name}"

    async def remove_and_add(self) -> str:
        node = self._anybody()
        await self._cluster.remove(node.name)
        await asyncio.sleep(self._dice.random())
        added = await self._cluster.add(node, 5)
        return f"removed {node.name} and {'added it again' if added else 'could not add it again'}"

    # -- partitions

    async def isolate(self) -> str:
        return await self._part([self._number(self._anybody())], "isolated")

    async def isolate_leader(self) -> str:
        return await self._part([self._number(await self._leader())], "isolated the leader,")

    async def split(self) -> str:
        size = len(self._cluster.nodes)
        return await self._part(self._dice.sample(range(1, size + 1), size // 2), "split off")

    async def _part(self, some: list[int], how: str) -> str:
        for one in some:
            for other in range(1, len(self._cluster.nodes) + 1):
                if other not in some:
                    await self._cluster.network.cut(one, other)
                    await self._cluster.network.cut(other, one)
        return await self._healed(f"{how} {some}")

    async def cut_one_way(self) -> str:
        one, other = self._dice.sample(range(1, len(self._cluster.nodes) + 1), 2)
        await self._cluster.network.cut(one, other)
        return await self._healed(f"cut {one} to {other}")

    async def ring(self) -> str:
        """Everybody sees a majority, and no two see the same."""
        size = len(self._cluster.nodes)
        order = self._dice.sample(range(1, size + 1), size)
        for at, one in enumerate(order):
            far = order[(at + size // 2) % size]
            if size > 3 or at == 0:
                await self._cluster.network.cut(one, far)
                await self._cluster.network.cut(far, one)
        return await self._healed(f"ring {order}")

    async def _healed(self, what: str) -> str:
        await asyncio.sleep(1 + self._dice.random() * 2)
        await self._cluster.network.heal()
        return what

    def _number(self, node: NodeProcess) -> int:
        return self._cluster.nodes.index(node) + 1
