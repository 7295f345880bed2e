"""The key-value machine: one meaning on every table, under every cut of the log, before and after a crash."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftcore.core.errors import Stalled, StorageError
from raftcore.core.types import Entry, EntryKind, Index, Term
from raftcore.kv._pb import kv_pb2 as pb
from raftcore.kv._pb.kv_pb2 import Item, WriteResult
from raftcore.kv.machine import Bounds, KvMachine
from raftcore.replica.group import encode_group
from raftcore.storage.kv import Store
from raftcore.storage.tables import MemoryTable, RocksTable

TABLES = {"memory": MemoryTable, "rocksdb": RocksTable}
BOUNDS = Bounds(requests=3, changes=5, changes_bytes=200)


def Command(stamp_us: int, request_id: bytes, operation) -> pb.Command:
    command = pb.Command(stamp_us=stamp_us, request_id=request_id)
    getattr(command, type(operation).__name__.lower()).CopyFrom(operation)
    return command


def Set(key: bytes, value: bytes, ttl_ms: int = 0) -> pb.Set:
    return pb.Set(key=key, value=value, ttl_ms=ttl_ms)


def CompareAndSet(key, value, expected_value=None, expected_version=None, ttl_ms: int = 0) -> pb.Set:
    expected = {"expected_value": expected_value, "expected_version": expected_version}
    return pb.Set(key=key, value=value, ttl_ms=ttl_ms, **expected)


def Delete(key: bytes) -> pb.Delete:
    return pb.Delete(key=key)


def Sweep(limit: int) -> pb.Sweep:
    return pb.Sweep(limit=limit)


def result(done: bool, version: int, index: int) -> WriteResult:
    return WriteResult(done=done, version=version, index=index)


class Driver:
    """A machine and the log it was given."""

    def __init__(self, table, *bounds) -> None:
        self.machine = KvMachine(table, *bounds)
        self.machine.open()

    def entry(self, *commands: Command) -> list[WriteResult]:
        index = Index(self.machine.applied + 1)
        data = encode_group([each.SerializeToString() for each in commands])
        (answers,) = self.machine.apply([Entry(Term(1), index, EntryKind.COMMANDS, data)])
        return [WriteResult.FromString(answer) for answer in answers]

    def do(self, operation, stamp_us: int = 0, request_id: bytes = b"") -> WriteResult:
        (made,) = self.entry(Command(stamp_us, request_id, operation))
        return made


@pytest.fixture(params=TABLES)
def table_kind(request):
    return TABLES[request.param]


@pytest.fixture
def driver(table_kind, tmp_path: Path):
    made = Driver(table_kind(tmp_path / "state"), BOUNDS)
    yield made
    made.machine.close()


KEYS = st.sampled_from([b"a", b"ab", b"b", b"\xff", b"\xff\xff"])
VALUES = st.sampled_from([b"", b"1", b"2"])
TTLS = st.sampled_from([0, 0, 1, 5])
OPERATIONS = st.one_of(
    st.builds(Set, KEYS, VALUES, TTLS),
    st.builds(Delete, KEYS),
    st.builds(CompareAndSet, KEYS, VALUES, VALUES, st.none(), TTLS),
    st.builds(CompareAndSet, KEYS, VALUES, st.none(), st.integers(0, 8), TTLS),
    st.builds(Sweep, st.integers(1, 2)),
)
COMMANDS = st.builds(
    Command, st.integers(0, 12_000), st.sampled_from([b"", b"", b"r", b"s", b"t"]), OPERATIONS
)
LOGS = st.lists(st.lists(COMMANDS, max_size=4), max_size=12)


class Model:
    """What the commands mean, without tables, indexes and bounds but that on requests."""

    def __init__(self) -> None:
        self.clock = self.version = self.index = 0
        self.keys: dict[bytes, tuple[bytes, int, int]] = {}
        self.remembered: list[tuple[bytes, WriteResult]] = []

    def alive(self) -> dict[bytes, Item]:
        return {
            key: Item(key=key, value=value, version=version, expiry_us=expiry)
            for key, (value, version, expiry) in sorted(self.keys.items())
            if not expiry or expiry > self.clock
        }

    def command(self, command: Command) -> WriteResult:
        self.clock = max(self.clock, command.stamp_us)
        known = dict(self.remembered).get(command.request_id)
        if known is not None:
            return known
        made = self.operate(getattr(command, command.WhichOneof("operation")))
        if command.request_id:
            self.remembered = [*self.remembered, (command.request_id, made)][-BOUNDS.requests :]
        return made

    def operate(self, operation) -> WriteResult:
        if isinstance(operation, pb.Sweep):
            over = sorted(
                (expiry, key) for key, (_, _, expiry) in self.keys.items() if 0 < expiry <= self.clock
            )
            for _, key in over[: operation.limit]:
                del self.keys[key]
                self.version += 1
            return result(True, 0, self.index)
        item = self.alive().get(operation.key)
        if isinstance(operation, pb.Delete):
            if item is not None:
                del self.keys[operation.key]
                self.version += 1
            return result(item is not None, 0, self.index)
        version = 0 if item is None else item.version
        fits = True
        if operation.HasField("expected_value"):
            fits = item is not None and item.value == operation.expected_value
        if operation.HasField("expected_version"):
            fits = version == operation.expected_version
        if not fits:
            return result(False, version, self.index)
        self.version += 1
        expiry = self.clock + operation.ttl_ms * 1000 if operation.ttl_ms else 0
        self.keys[operation.key] = (operation.value, self.version, expiry)
        return result(True, self.version, self.index)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(log=LOGS, data=st.data())
def test_every_table_and_cut_of_the_log_means_what_the_model_says(log, data, tmp_path_factory) -> None:
    model = Model()
    entries, expected = [], []
    for commands in log:
        model.index += 1
        entries.append(
            Entry(
                Term(1),
                Index(model.index),
                EntryKind.COMMANDS if commands else EntryKind.NOOP,
                encode_group([each.SerializeToString() for each in commands]) if commands else b"",
            )
        )
        expected.append([model.command(command) for command in commands])
    rows = []
    for kind in TABLES.values():
        directory = tmp_path_factory.mktemp("kv") / "state"
        machine = KvMachine(kind(directory), BOUNDS)
        at = machine.open()
        while at < len(entries):
            size = data.draw(st.integers(1, len(entries) - at), "slice")
            answers = machine.apply(entries[at : at + size])
            assert [[WriteResult.FromString(each) for each in some] for some in answers] == expected[
                at : at + size
            ]
            at += size
            if data.draw(st.booleans(), "restart"):
                assert machine.sync() == at
                machine.close()
                machine = KvMachine(kind(directory), BOUNDS)
                assert machine.open() == at
        assert list(machine.scan(b"", 100).items) == list(model.alive().values())
        for key in (b"a", b"ab", b"b", b"\xff", b"\xff\xff"):
            assert machine.get(key) == model.alive().get(key)
            prefixed = [item for item in model.alive().values() if item.key.startswith(key)]
            assert list(machine.scan(key, 100).items) == prefixed
        rows.append(list(machine.table.scan(b"", b"\xff")))
        machine.close()
    assert rows[0] == rows[1]


def test_an_expired_key_is_gone_at_once_and_removed_by_bounded_sweeps(driver: Driver) -> None:
    for number in range(3):
        driver.do(Set(b"k%d" % number, b"v", ttl_ms=1 + number), stamp_us=1_000)
    assert driver.machine.next_expiry_us() == 2_000
    driver.do(Sweep(1), stamp_us=4_000)
    assert driver.machine.scan(b"", 10).items == []
    assert driver.machine.next_expiry_us() == 3_000
    assert not driver.do(Delete(b"k2")).done
    assert driver.do(CompareAndSet(b"k2", b"new", expected_version=0)).done
    driver.do(Sweep(10))
    assert driver.machine.next_expiry_us() is None
    assert [item.key for item in driver.machine.scan(b"", 10).items] == [b"k2"]


def test_a_clock_that_steps_back_raises_nothing_from_the_dead(driver: Driver) -> None:
    driver.do(Set(b"k", b"v", ttl_ms=1), stamp_us=1_000)
    driver.do(Sweep(0), stamp_us=5_000)
    assert driver.machine.get(b"k") is None
    assert driver.do(CompareAndSet(b"k", b"w", expected_value=b"v"), stamp_us=0) == result(False, 0, 3)


def test_a_repeated_request_changes_nothing_until_it_is_forgotten(driver: Driver) -> None:
    first = driver.do(Set(b"k", b"v"), request_id=b"mine")
    for number in range(2):
        driver.do(Set(b"k", b"%d" % number), request_id=b"other%d" % number)
    assert driver.do(Set(b"k", b"v"), request_id=b"mine") == first
    assert driver.machine.get(b"k").value == b"1"
    driver.do(Delete(b"k"), request_id=b"other2")
    assert driver.do(Set(b"k", b"v"), request_id=b"mine").version > first.version


def test_a_version_is_never_seen_twice_even_within_one_entry(driver: Driver) -> None:
    one, two, late = driver.entry(
        Command(0, b"", Set(b"k", b"1")),
        Command(0, b"", Set(b"k", b"2")),
        Command(0, b"", CompareAndSet(b"k", b"3", expected_version=1)),
    )
    assert (one.version, two.version, late.done) == (1, 2, False)


def test_a_watch_tells_every_change_of_whole_entries_until_they_are_dropped(driver: Driver) -> None:
    driver.entry(*[Command(0, b"", Set(b"k%d" % number, b"v")) for number in range(3)])
    driver.do(Delete(b"k0"))
    driver.do(Sweep(1))
    found = driver.machine.changes(1, 1)
    assert (found.index, [change.key for change in found.changes]) == (1, [b"k0", b"k1", b"k2"])
    found = driver.machine.changes(2, 10)
    assert (found.index, [change.kind for change in found.changes]) == (3, ["delete"])
    assert driver.machine.changes(9, 10).index == 8
    for _ in range(3):
        driver.do(Set(b"k", b"v"))
    assert driver.machine.changes(1, 10) is None
    assert driver.machine.first_index == 2
    assert len(driver.machine.changes(2, 10).changes) == 4


def test_changes_are_bounded_in_bytes_but_the_newest_is_kept(driver: Driver) -> None:
    for _ in range(3):
        driver.do(Set(b"k", b"x" * 300))
    assert driver.machine.first_index == 3
    assert len(driver.machine.changes(3, 10).changes) == 1


def test_a_scan_goes_on_after_the_last_key_it_told(driver: Driver) -> None:
    keys = [b"p", b"p\0", b"pa", b"p\xff"]
    for key in [*keys, b"o", b"q"]:
        driver.do(Set(key, b"v"))
    found, after = [], b""
    while True:
        items = driver.machine.scan(b"p", 1, after)
        found += [item.key for item in items.items]
        if not items.more:
            break
        after = found[-1]
    assert found == keys


def test_answers_are_bounded_in_bytes_and_go_on(table_kind, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("raftcore.kv.machine.ANSWER_BYTES_MAX", 250)
    driver = Driver(table_kind(tmp_path / "state"))
    for number in range(5):
        driver.do(Set(b"%d" % number, b"x" * 100))
    items = driver.machine.scan(b"", 100)
    assert ([item.key for item in items.items], items.more) == ([b"0", b"1", b"2"], True)
    items = driver.machine.scan(b"", 100, items.items[-1].key)
    assert ([item.key for item in items.items], items.more) == ([b"3", b"4"], False)
    assert [driver.machine.changes(index, 100).index for index in (1, 4)] == [3, 5]
    driver.machine.close()


@pytest.mark.parametrize("other_kind", TABLES.values(), ids=TABLES)
def test_a_newcomer_becomes_the_checkpoint_of_a_table_of_either_kind(
    driver: Driver, other_kind, tmp_path: Path
) -> None:
    driver.do(Set(b"k", b"v", ttl_ms=9), stamp_us=1, request_id=b"mine")
    driver.machine.sync()
    assert driver.machine.checkpoint(tmp_path / "copy") == 1
    newcomer = Driver(other_kind(tmp_path / "newcomer"), BOUNDS)
    newcomer.do(Set(b"other", b"v"))
    assert newcomer.machine.install(tmp_path / "copy") == 1
    newcomer.machine.close()
    assert newcomer.machine.open() == 1
    assert list(newcomer.machine.table.scan(b"", b"\xff")) == list(driver.machine.table.scan(b"", b"\xff"))
    assert newcomer.do(Set(b"k", b"w"), request_id=b"mine") == result(True, 1, 1)
    newcomer.machine.close()


@pytest.mark.parametrize("step", range(4))
@pytest.mark.parametrize("other_kind", TABLES.values(), ids=TABLES)
def test_a_crash_while_installing_leaves_the_old_state_or_the_new(
    driver: Driver, other_kind, step: int, tmp_path: Path, monkeypatch
) -> None:
    """Every rename is a place to crash before; while the old state is there, so are the files."""
    driver.do(Set(b"new", b"v"))
    driver.do(Set(b"new", b"v"))
    driver.machine.sync()
    driver.machine.checkpoint(tmp_path / "copy")
    behind = Driver(other_kind(tmp_path / "behind"), BOUNDS)
    behind.do(Set(b"old", b"v"))
    behind.machine.sync()
    renames = 0

    def crashing(rename):
        def rename_or_crash(source: Path, target: Path) -> None:
            nonlocal renames
            renames += 1
            if renames > step:
                raise KeyboardInterrupt
            rename(source, target)

        return rename_or_crash

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", crashing(os.rename))
        with contextlib.suppress(KeyboardInterrupt):
            behind.machine.install(tmp_path / "copy")
        behind.machine.table.close()
    found = Driver(other_kind(tmp_path / "behind"), BOUNDS)
    if found.machine.applied == 1:
        assert found.machine.get(b"old") is not None
        assert found.machine.install(tmp_path / "copy") == 2
    assert found.machine.applied == 2
    assert [item.key for item in found.machine.scan(b"", 9).items] == [b"new"]
    found.machine.close()


def test_what_a_store_refuses_for_now_is_applied_when_it_is_given_again(tmp_path: Path, monkeypatch) -> None:
    driver = Driver(RocksTable(tmp_path / "state"), BOUNDS)
    driver.do(Set(b"k", b"1"), stamp_us=5)

    def stall(*_) -> None:
        raise Stalled("not now")

    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", stall)
        with pytest.raises(Stalled):
            driver.do(Set(b"k", b"2"), stamp_us=9)
    assert (driver.machine.applied, driver.machine.clock_us) == (1, 5)
    assert driver.machine.get(b"k").value == b"1"
    assert driver.do(Set(b"k", b"2"), stamp_us=9) == result(True, 2, 2)
    driver.machine.close()


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    driver = Driver(MemoryTable(tmp_path))
    driver.do(Set(b"k", b"v" * 100))
    driver.machine.sync()
    driver.machine.close()
    (file,) = tmp_path.rglob("*.sst")
    data = file.read_bytes()
    file.write_bytes(data[:50] + bytes((data[50] ^ 1,)) + data[51:])
    with pytest.raises(StorageError):
        MemoryTable(tmp_path).open()
