"""The namespaces that a machine knows, read through what is applied but not yet written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set

from raftcore.storage.kv import Batch, Store
from z4sql.tasks.keys import NAMESPACE
from z4sql.tasks.model import NamespaceSettings
from z4sql.tasks.settings import decode_settings, encode_settings, merged

_END = bytes([NAMESPACE[0] + 1])


def namespaces_in(store: Store) -> Iterator[bytes]:
    """Every namespace, as it stands in keys."""
    for key in store.keys(NAMESPACE, _END):
        yield key[1:]


class NamespaceTable:
    """Names are as they stand in keys: with their length."""

    def __init__(self) -> None:
        self._store: Store
        self._known: set[bytes] = set()
        self._unwritten: dict[bytes, NamespaceSettings] = {}

    def open(self, store: Store) -> None:
        """Start from what ``store`` holds."""
        self._store = store
        self._known = set(namespaces_in(store))
        self._unwritten.clear()

    def know(self, batch: Batch, names: Set[bytes], stamp_us: int) -> None:
        """A namespace comes into being on first use, with the cluster's defaults."""
        for name in sorted(names - self._known):
            self._put(batch, name, NamespaceSettings(created_at_us=stamp_us))

    def change(
        self, batch: Batch, name: bytes, change: Mapping[str, object], stamp_us: int
    ) -> NamespaceSettings:
        """Merge ``change`` into the settings of a namespace, which may be new.

        :raises InvalidTask: when they would contradict each other; nothing is changed.
        """
        settings = merged(self._settings(name) or NamespaceSettings(created_at_us=stamp_us), change, stamp_us)
        self._put(batch, name, settings)
        return settings

    def written(self) -> None:
        """What was changed is in the store."""
        self._unwritten.clear()

    def _settings(self, name: bytes) -> NamespaceSettings | None:
        if name in self._unwritten:
            return self._unwritten[name]
        value = self._store.get(NAMESPACE + name)
        return None if value is None else decode_settings(value)

    def _put(self, batch: Batch, name: bytes, settings: NamespaceSettings) -> None:
        batch.put(NAMESPACE + name, encode_settings(settings))
        self._known.add(name)
        self._unwritten[name] = settings
