"""Snapshots that this host makes for peers whose entries are compacted away, and lets them pull."""

from __future__ import annotations

import asyncio
import secrets
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from raftcore.core.errors import DiskFull, Stalled
from raftcore.core.types import Index, NodeId, ShardId, SnapshotMeta
from raftcore.host.manifest import Manifest
from raftcore.host.runner import ReplicaRunner
from raftcore.host.saturation import SnapshotProgress
from raftcore.transport.base import Refused
from raftcore.transport.snapshot_stream import CHUNK_BYTES

if TYPE_CHECKING:
    from raftcore.host.host import Host

log = structlog.get_logger()

_PAUSE_LEAST_S = 0.005
_MAKING_BYTES = 1 << 30
"""How much log is kept for a snapshot that is being made and whose size is not known yet."""


@dataclass(slots=True)
class _Use:
    """One peer that was told of a snapshot."""

    touched_s: float
    sent_bytes: int = 0


@dataclass(slots=True, eq=False)
class _Made:
    runner: ReplicaRunner
    meta: SnapshotMeta
    directory: Path
    manifest: Manifest
    touched_s: float
    uses: dict[NodeId, _Use] = field(default_factory=dict)


class OutgoingSnapshots:
    """A `SnapshotSource`. Peers that need a snapshot of one shard at one time share a checkpoint.

    One that is not pulled from for a while is removed: its hard links keep files on the disk.
    """

    def __init__(self, host: Host, directory: Path) -> None:
        self._host = host
        self._directory = directory
        self._made: list[_Made] = []
        self._waiting: dict[ShardId, set[NodeId]] = {}
        self._begun_at: dict[ShardId, Index] = {}
        self._begun_counts: dict[ShardId, int] = {}
        self._making: dict[ShardId, asyncio.Task[None]] = {}
        self._free_at_s = 0.0

    def start(self) -> None:
        """Remove what an earlier life left: nobody asks for it any more. :raises OSError:"""
        shutil.rmtree(self._directory, ignore_errors=True)
        self._directory.mkdir(parents=True, exist_ok=True)

    async def stop(self) -> None:
        """Make nothing any more."""
        for shard in list(self._making):
            await self._make_no_more(shard)

    def wanted(self, runner: ReplicaRunner, peer: NodeId) -> None:
        """Find or make a snapshot for ``peer``, and tell the replica."""
        for made in self._made:
            if made.runner is runner and made.meta.index + 1 >= runner.replica.core.first_index:
                self._offer(made, peer)
                return
        waiting = self._waiting.setdefault(runner.shard, set())
        waiting.add(peer)
        if runner.shard not in self._begun_at:
            self._begun_at[runner.shard] = runner.applied
            self._begun_counts[runner.shard] = self._begun_counts.get(runner.shard, 0) + 1
            task = asyncio.create_task(self._make(runner), name=f"snapshot of shard {runner.shard}")
            self._making[runner.shard] = task

    def held(self, shard: ShardId) -> list[tuple[Index, int]]:
        """Where peers that install a snapshot will stand, and how many bytes of log that is worth.

        As many as the snapshot has: who pulls faster than the log grows then always arrives within the log.
        """
        held = [
            (made.meta.index, made.manifest.size_bytes)
            for made in self._made
            if made.runner.shard == shard and made.uses
        ]
        if (begun := self._begun_at.get(shard)) is not None:
            held.append((begun, _MAKING_BYTES))
        return held

    def progress(self) -> list[SnapshotProgress]:
        """Every transfer under way."""
        return [
            SnapshotProgress(
                peer,
                made.meta.index,
                True,
                min(use.sent_bytes, made.manifest.size_bytes),
                made.manifest.size_bytes,
            )
            for made in self._made
            for peer, use in made.uses.items()
        ]

    def being_made(self, shard: ShardId) -> int:
        """The number of the snapshot that is being made now; 0 when none is."""
        return self._begun_counts[shard] if shard in self._begun_at else 0

    def sent_bytes(self, peer: NodeId) -> int:
        """How much of the snapshot that ``peer`` pulls now it was sent."""
        return sum(each.done_bytes for each in self.progress() if each.node == peer)

    async def drop(self, runner: ReplicaRunner) -> None:
        """Remove the snapshots of a replica that leaves."""
        await self._make_no_more(runner.shard)
        for made in [made for made in self._made if made.runner is runner]:
            await self._remove(made)

    async def expire(self) -> None:
        """Give up peers that pull no more, and remove what nobody pulls."""
        now_s = time.monotonic()
        idle_s = self._host.config.snapshot_idle_s
        for made in list(self._made):
            for peer in [peer for peer, use in made.uses.items() if now_s - use.touched_s > idle_s]:
                log.warning("snapshot_not_pulled", id=made.meta.id, peer=peer, idle_s=idle_s)
                self.pulled(made.meta.id, peer, ok=False)
            if not made.uses and now_s - made.touched_s > idle_s:
                await self._remove(made)

    # -- as a source

    def manifest(self, id: str, node: NodeId) -> bytes:
        return self._find(id, node).manifest.encode()

    async def chunks(self, id: str, node: NodeId, path: str, offset: int) -> AsyncIterator[bytes]:
        made = self._find(id, node)
        if made.manifest.file(path) is None or offset < 0:
            raise Refused(f"snapshot {id} has no file {path!r} to be read from {offset}")
        with (made.directory / path).open("rb") as file:
            file.seek(offset)
            while data := await asyncio.to_thread(file.read, CHUNK_BYTES):
                await self._pace(len(data))
                self._find(id, node).uses[node].sent_bytes += len(data)
                yield data

    def pulled(self, id: str, node: NodeId, ok: bool) -> None:
        for made in self._made:
            if made.meta.id == id and made.uses.pop(node, None) is not None:
                made.touched_s = time.monotonic()
                made.runner.replica.snapshot_sent(node, ok)
                self._host.need_turn()
                log.info("snapshot_pulled", id=id, peer=node, ok=ok)

    # -- making

    async def _make(self, runner: ReplicaRunner) -> None:
        id = f"{runner.node}-{runner.applied}-{secrets.token_hex(8)}"
        directory = self._directory / id
        made: _Made | None = None
        begun_s = time.monotonic()
        try:
            index = await runner.checkpoint(directory)
            self._host.need_apply()
            # At once: what is compacted while the files are summed up could not be described any more.
            meta = self._host.store.describe(runner.shard, runner.node, index, id)
            manifest = await asyncio.to_thread(Manifest.of, directory)
            made = _Made(runner, meta, directory, manifest, time.monotonic())
            self._host.saturation.snapshots_s.append(time.monotonic() - begun_s)
            self._made.append(made)
            log.info("snapshot_made", id=id, index=index, bytes=manifest.size_bytes)
        except (OSError, DiskFull, Stalled) as error:
            # The log is still whole: the peer waits, and asks again with its next sign of life.
            log.warning("snapshot_not_made", shard=runner.shard, error=f"{type(error).__name__}: {error}")
        except Exception as error:
            self._host.fail(error)
        finally:
            if made is None:
                shutil.rmtree(directory, ignore_errors=True)
            for peer in self._waiting.pop(runner.shard, ()):
                if made is not None:
                    self._offer(made, peer)
                else:
                    runner.replica.snapshot_ready(peer, None)
            self._begun_at.pop(runner.shard, None)
            self._making.pop(runner.shard, None)
            self._host.need_turn()

    async def _make_no_more(self, shard: ShardId) -> None:
        making = self._making.pop(shard, None)
        if making is not None:
            making.cancel()
            await asyncio.wait([making])
        # One that was ended before it began has not done this itself.
        self._waiting.pop(shard, None)
        self._begun_at.pop(shard, None)

    def _offer(self, made: _Made, peer: NodeId) -> None:
        made.uses[peer] = _Use(time.monotonic())
        made.runner.replica.snapshot_ready(peer, made.meta)
        self._host.need_turn()

    async def _remove(self, made: _Made) -> None:
        self._made.remove(made)
        await asyncio.to_thread(shutil.rmtree, made.directory, ignore_errors=True)

    def _find(self, id: str, node: NodeId) -> _Made:
        now_s = time.monotonic()
        for made in self._made:
            if made.meta.id == id and node in made.uses:
                made.touched_s = made.uses[node].touched_s = now_s
                return made
        raise Refused(f"snapshot {id} is not offered to replica {node}")

    async def _pace(self, size_bytes: int) -> None:
        """Keep all transfers together below the host's limit."""
        now_s = time.monotonic()
        self._free_at_s = max(now_s, self._free_at_s) + size_bytes / self._host.config.snapshot_bytes_per_s
        if self._free_at_s - now_s > _PAUSE_LEAST_S:
            await asyncio.sleep(self._free_at_s - now_s)
