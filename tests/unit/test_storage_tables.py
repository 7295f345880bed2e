"""Tables in memory and in RocksDB: one map, whatever is committed, synced, reopened, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raftcore.core.errors import Stalled
from raftcore.storage.kv import Store
from raftcore.storage.tables import MemoryTable, RocksTable

KINDS = {"memory": MemoryTable, "rocksdb": RocksTable}
KEYS = st.sampled_from([b"a", b"a\0", b"ab", b"b", b"\xfe"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), KEYS, st.binary(max_size=3)),
        st.tuples(st.just("delete"), KEYS),
        st.tuples(st.just("commit")),
        st.tuples(st.just("sync")),
        st.tuples(st.just("reopen")),
    ),
    max_size=20,
)
WHOLE = (b"", b"\xff")


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_a_table_is_a_sorted_map(kind: type[RocksTable], steps, tmp_path_factory) -> None:
    directory = tmp_path_factory.mktemp("table") / "state"
    table, rows = kind(directory), {}
    table.open()
    for step in steps:
        match step:
            case ("put", key, value):
                table.put(key, value)
                rows[key] = value
            case ("delete", key):
                table.delete(key)
                rows.pop(key, None)
            case ("commit",):
                table.commit()
            case ("sync",):
                table.commit()
                table.sync()
            case ("reopen",):
                table.commit()
                table.sync()
                table.close()
                table = kind(directory)
                table.open()
        assert list(table.scan(*WHOLE)) == sorted(rows.items())
        assert list(table.scan(b"a\0", b"b")) == [
            row for row in sorted(rows.items()) if b"a\0" <= row[0] < b"b"
        ]
        assert all(table.get(key) == rows.get(key) for key in (b"a", b"a\0", b"ab", b"b", b"\xfe"))
    table.close()


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("other", KINDS.values(), ids=KINDS)
def test_a_checkpoint_of_either_kind_is_installed_in_either(
    kind: type[RocksTable], other: type[RocksTable], tmp_path: Path
) -> None:
    source, target = kind(tmp_path / "source"), other(tmp_path / "target")
    for table, key in ((source, b"new"), (target, b"old")):
        table.open()
        table.put(key, b"1")
        table.commit()
        table.sync()
    source.checkpoint(tmp_path / "copy")
    target.put(b"never committed", b"1")
    target.install(tmp_path / "copy")
    assert list(target.scan(*WHOLE)) == [(b"new", b"1")]
    target.close()
    target.open()
    assert list(target.scan(*WHOLE)) == [(b"new", b"1")]
    source.close()
    target.close()


def refuse(*_: object) -> None:
    raise Stalled("not now")


def test_what_rocksdb_refuses_for_now_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = RocksTable(tmp_path)
    table.open()
    table.put(b"k", b"1")
    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", refuse)
        with pytest.raises(Stalled):
            table.commit()
    assert table.get(b"k") is None
    table.close()


def test_what_a_store_refuses_for_now_stays_in_memory_and_is_durable_with_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = MemoryTable(tmp_path)
    table.open()
    table.put(b"k", b"1")
    table.commit()
    with monkeypatch.context() as patched:
        patched.setattr(Store, "write", refuse)
        with pytest.raises(Stalled):
            table.sync()
    assert table.get(b"k") == b"1"
    table.sync()
    table.close()
    table.open()
    assert table.get(b"k") == b"1"
    table.close()
