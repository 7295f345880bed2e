"""Snapshots that this host pulls, and installs in the place of its state and its log.

The order makes every step safe: the files are complete, checked and durable; the log store notes the
installation, durably; the state is replaced; the log begins behind it and the note is gone, in one durable
batch. `IncomingSnapshots.finish` goes on, after a crash, with what the note says.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar
from zlib import crc32

import structlog

from raftcore.core.errors import BadFrame, Corrupt, Stalled, require
from raftcore.core.ready import InstallSnapshot
from raftcore.core.types import Index, NodeId, ShardId
from raftcore.host.machine import StateMachine
from raftcore.host.manifest import Manifest, SnapshotFile, checksum
from raftcore.host.runner import ReplicaRunner
from raftcore.host.saturation import SnapshotProgress
from raftcore.storage.directory import sync_tree
from raftcore.transport.base import Refused, Unreachable
from raftcore.transport.snapshot_stream import SnapshotPull

if TYPE_CHECKING:
    from raftcore.host.host import Host

log = structlog.get_logger()

_Written = TypeVar("_Written")

_RETRY_FIRST_S = 0.1
_RETRY_MAX_S = 2.0
_SYNC_BYTES = 16 << 20
"""How much is written before it is synced: one big sync would hold up those of the log."""
_FREE_SHARE = 1.05
_FILES = "files"


class IncomingSnapshots:
    """One pull per shard, of what its replica wants installed; a newer wish ends an older one."""

    def __init__(self, host: Host, directory: Path) -> None:
        self._host = host
        self._directory = directory
        self._pulls: dict[ShardId, _Pull] = {}
        self._unwanted_since_s: dict[ShardId, float] = {}

    def start(self) -> None:
        """:raises OSError:"""
        self._directory.mkdir(parents=True, exist_ok=True)

    async def stop(self) -> None:
        """Pull nothing any more; what is here stays, to go on from."""
        for shard in list(self._pulls):
            await self.abandon(shard)

    def wanted(self, runner: ReplicaRunner, request: InstallSnapshot) -> None:
        """Pull and install, for as long as the replica wants it."""
        former = self._pulls.get(runner.shard)
        self._pulls[runner.shard] = _Pull(
            self._host, runner, request, self._place(runner.shard, runner.node), former
        )

    async def abandon(self, shard: ShardId) -> None:
        """End the pull of a shard; an installation under way comes to its end first."""
        pull = self._pulls.pop(shard, None)
        if pull is not None:
            await pull.stop()

    async def finish(self, shard: ShardId, node: NodeId, machine: StateMachine, applied: Index) -> Index:
        """After a restart: end the installation that was under way, if any; returns the applied index.

        :raises Corrupt: neither the state nor the snapshot reaches as far as the note says.
        """
        place = self._place(shard, node)
        for other in self._directory.glob(f"{shard}-*"):
            if other != place:
                await asyncio.to_thread(shutil.rmtree, other, ignore_errors=True)
        store = self._host.store
        meta = store.pending_install(shard, node)
        if meta is None:
            return applied
        files = place / meta.id / _FILES
        if applied < meta.index and files.exists():
            applied = await asyncio.to_thread(machine.install, files)
        if applied < meta.index:
            raise Corrupt(
                f"the state has applied {applied}, and the snapshot to install, {meta.index}, is gone"
            )
        if applied == meta.index:
            store.install(shard, node, meta)
        else:
            store.cancel_install(shard, node)
        await asyncio.to_thread(store.sync)
        await asyncio.to_thread(shutil.rmtree, place / meta.id, ignore_errors=True)
        log.info("snapshot_installation_finished", shard=shard, index=meta.index, applied=applied)
        return applied

    async def expire(self) -> None:
        """Remove what was received of snapshots that nobody wants installed any more."""
        now_s = time.monotonic()
        for shard, runner in list(self._host.runners.items()):
            pull, place = self._pulls.get(shard), self._place(shard, runner.node)
            if (pull is not None and not pull.done) or not place.exists():
                self._unwanted_since_s.pop(shard, None)
            elif now_s - self._unwanted_since_s.setdefault(shard, now_s) > self._host.config.snapshot_idle_s:
                await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)

    def progress(self) -> list[SnapshotProgress]:
        """Every transfer under way."""
        return [pull.progress() for pull in self._pulls.values() if not pull.done]

    def _place(self, shard: ShardId, node: NodeId) -> Path:
        return self._directory / f"{shard}-{node}"


class _Pull:
    """One snapshot on its way: ``place/<id>/files``, kept over a restart and gone on with."""

    def __init__(
        self, host: Host, runner: ReplicaRunner, request: InstallSnapshot, place: Path, former: _Pull | None
    ) -> None:
        self._host = host
        self._runner = runner
        self._meta = request.meta
        self._source = request.source
        self._place = place
        self._files = place / request.meta.id / _FILES
        self._manifest: Manifest | None = None
        self._received_bytes = 0
        self._installing = False
        self._task = asyncio.create_task(self._run(former), name=f"pull of {request.meta.id}")

    @property
    def done(self) -> bool:
        return self._task.done()

    def progress(self) -> SnapshotProgress:
        total_bytes = self._manifest.size_bytes if self._manifest is not None else 0
        return SnapshotProgress(self._source, self._meta.index, False, self._received_bytes, total_bytes)

    async def stop(self) -> None:
        if not self._installing:
            self._task.cancel()
        await asyncio.wait([self._task])

    @property
    def _is_wanted(self) -> bool:
        return not self._runner.stopped and self._runner.replica.core.installing == self._meta

    async def _run(self, former: _Pull | None) -> None:
        try:
            if former is not None:
                await former.stop()
            await self._pull_until_here()
            if self._is_wanted:
                self._installing = True
                await self._install()
        except Exception as error:
            self._host.fail(error)

    async def _pull_until_here(self) -> None:
        await asyncio.to_thread(_remove_others, self._place, self._meta.id)
        retry_s = _RETRY_FIRST_S
        while self._is_wanted:
            address = self._runner.address_of(self._source)
            received_bytes = self._received_bytes
            try:
                if address is None:
                    raise Unreachable(f"the address of replica {self._source} is not known")
                async with self._host.transport.pull(address) as pull:
                    await self._pull_all(pull)
                return
            except (Unreachable, Refused, BadFrame, OSError) as error:
                log.warning("snapshot_pull_broken", id=self._meta.id, source=address, error=str(error))
            if self._received_bytes > received_bytes:
                retry_s = _RETRY_FIRST_S
            await asyncio.sleep(retry_s)
            retry_s = min(retry_s * 2, _RETRY_MAX_S)

    async def _pull_all(self, pull: SnapshotPull) -> None:
        """Have every file here, checked and durable. :raises Unreachable: and kin: go on later."""
        id, node = self._meta.id, self._runner.node
        try:
            self._manifest = manifest = Manifest.decode(await pull.manifest(id, node))
        except Refused:
            # The replica that offered it is told, and offers another one.
            await pull.pulled(id, node, ok=False)
            raise
        self._received_bytes = 0
        await asyncio.to_thread(self._prepare, manifest)
        for file in manifest.files:
            await self._pull_file(pull, file)
        await asyncio.to_thread(sync_tree, self._files)

    def _prepare(self, manifest: Manifest) -> None:
        """Make room. :raises OSError: there is none."""
        self._files.mkdir(parents=True, exist_ok=True)
        present = Manifest.of(self._files)
        wanted_bytes = (manifest.size_bytes - present.size_bytes) * _FREE_SHARE
        free_bytes = shutil.disk_usage(self._files).free
        if wanted_bytes > free_bytes:
            raise OSError(f"{wanted_bytes:.0f} bytes are needed in {self._place}, {free_bytes} are free")
        for file in present.files:
            if manifest.file(file.path) is None:
                (self._files / file.path).unlink()

    async def _pull_file(self, pull: SnapshotPull, file: SnapshotFile) -> None:
        path = self._files / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        size_bytes, crc = await asyncio.to_thread(checksum, path) if path.exists() else (0, 0)
        self._received_bytes += size_bytes
        with path.open("ab") as opened:
            unsynced_bytes = 0
            if size_bytes < file.size_bytes or not file.size_bytes:
                async for data in pull.chunks(self._meta.id, self._runner.node, file.path, size_bytes):
                    unsynced_bytes += len(data)
                    sync = unsynced_bytes >= _SYNC_BYTES
                    crc = await asyncio.to_thread(_append, opened, data, crc, sync=sync)
                    unsynced_bytes = 0 if sync else unsynced_bytes
                    size_bytes += len(data)
                    self._received_bytes += len(data)
        if (size_bytes, crc) != (file.size_bytes, file.crc):
            path.unlink()
            raise BadFrame(f"{file.path} of snapshot {self._meta.id} fails its checksum: it is pulled again")

    async def _install(self) -> None:
        """Replace state and log. The replica stands still from the last look at it to the end."""
        host, runner, meta, store = self._host, self._runner, self._meta, self._host.store
        async with runner.held():
            # Closing flushes: it is quick when there is nothing left to flush.
            with suppress(Stalled):
                await runner.sync_held()
            await self._write(lambda: store.begin_install(runner.shard, runner.node, meta))
            if not await host.freeze(runner):
                return
            try:
                if wanted := self._is_wanted:
                    kept = runner.replica.core.keeps_log(meta)
                    applied = await asyncio.to_thread(runner.machine.install, self._files)
                    require(applied == meta.index, "a snapshot is what it says", applied=applied, meta=meta)
                    has_kept = await self._write(lambda: store.install(runner.shard, runner.node, meta))
                    require(kept == has_kept, "log and log store agree", core=kept, store=has_kept)
                    runner.installed(meta)
                    log.info("snapshot_installed", id=meta.id, index=meta.index, log_kept=kept)
            finally:
                host.thaw(runner)
            if not wanted:
                await self._write(lambda: store.cancel_install(runner.shard, runner.node))
        await asyncio.to_thread(shutil.rmtree, self._place / meta.id, ignore_errors=True)
        if wanted:
            host.snapshot_installed(runner)
            await self._tell_installed()

    async def _tell_installed(self) -> None:
        """The reply to the leader says it too: this one frees the snapshot sooner."""
        address = self._runner.address_of(self._source)
        if address is None:
            return
        try:
            async with self._host.transport.pull(address) as pull:
                await pull.pulled(self._meta.id, self._runner.node, ok=True)
        except (Unreachable, Refused) as error:
            log.debug("snapshot_end_not_told", id=self._meta.id, error=str(error))

    async def _write(self, write: Callable[[], _Written]) -> _Written:
        """Write to the log store, durably, as soon as it takes it."""
        while True:
            try:
                written = write()
                break
            except Stalled:
                await asyncio.sleep(self._host.config.write_retry_ms / 1000)
        await self._host.log_durable()
        return written


def _append(file: BinaryIO, data: bytes, crc: int, *, sync: bool) -> int:
    """Write a chunk; the crc32 of the file with it."""
    file.write(data)
    if sync:
        file.flush()
        os.fdatasync(file.fileno())
    return crc32(data, crc)


def _remove_others(place: Path, id: str) -> None:
    """Only one snapshot is received at a time: the disk holds no more."""
    if place.exists():
        for other in place.iterdir():
            if other.name != id:
                shutil.rmtree(other, ignore_errors=True)
