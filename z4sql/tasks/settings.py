"""A namespace's settings: what may be set, how a change is merged, how they are stored."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from z4sql.tasks.errors import InvalidTask
from z4sql.tasks.model import DELIVER_AT_MAX_US, NamespaceSettings, out_of_range

_WEEK_SECONDS: Final = 7 * 86_400
LIMITS: Final[Mapping[str, tuple[float, float]]] = {
    "ack_deadline_seconds": (1, _WEEK_SECONDS),
    "attempts_max": (1, 1_000_000),
    "backoff_min_ms": (0, _WEEK_SECONDS * 1000),
    "backoff_max_ms": (0, _WEEK_SECONDS * 1000),
    "backoff_multiplier": (1, 100),
    "retention_seconds": (0, 10 * 366 * 86_400),
}
"""The least and the greatest value that can be set. Checked by the leader, never when applying."""


@dataclass(slots=True, frozen=True)
class SettingsChange:
    """What to set; None leaves a setting as it is."""

    ack_deadline_seconds: int | None = None
    attempts_max: int | None = None
    backoff_min_ms: int | None = None
    backoff_max_ms: int | None = None
    backoff_multiplier: float | None = None
    retention_seconds: int | None = None
    paused: bool | None = None
    paused_until_us: int | None = None
    """Paused until then; 0: until resumed. Resuming drops it, as does a pause that comes later."""

    def given(self) -> dict[str, int | float | bool]:
        """The settings to change, by name."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


def check_change(change: SettingsChange) -> None:
    """:raises InvalidTask: naming the setting that is out of its limits."""
    until_us = change.paused_until_us
    if until_us is not None and not 0 <= until_us <= DELIVER_AT_MAX_US:
        raise out_of_range("paused_until", until_us)
    if until_us and change.paused is False:
        raise InvalidTask("paused_until", "contradicts paused = false; give one of them")
    for name, value in change.given().items():
        if name not in LIMITS:
            continue
        least, greatest = LIMITS[name]
        if not least <= value <= greatest:
            raise InvalidTask(name, f"must lie between {least} and {greatest}, is {value}")


def merged(settings: NamespaceSettings, change: Mapping[str, object], now_us: int) -> NamespaceSettings:
    """The settings after a change, by name, at ``now_us``, which is the change's own stamp.

    A pause without an end keeps one that is yet to come, and drops one that has come.

    :raises InvalidTask: when they would contradict each other.
    """
    change = dict(change)
    if "paused_until_us" in change:
        change["paused_until_us"] = change["paused_until_us"] or None
        if change["paused_until_us"]:
            change.setdefault("paused", True)
    until_us = settings.paused_until_us
    if change.get("paused") is False:
        change["paused_until_us"] = None
    elif change.get("paused") and until_us is not None and until_us <= now_us:
        change.setdefault("paused_until_us", None)
    after = replace(settings, **change)  # type: ignore[arg-type]  # names and types are the command's
    if after.backoff_min_ms > after.backoff_max_ms:
        raise InvalidTask(
            "backoff_min_ms" if "backoff_min_ms" in change else "backoff_max_ms",
            f"the least backoff, {after.backoff_min_ms} ms, exceeds the greatest, {after.backoff_max_ms} ms",
        )
    return after


def encode_settings(settings: NamespaceSettings) -> bytes:
    """The settings as stored: compact JSON."""
    return json.dumps(settings.to_fields(), separators=(",", ":")).encode()


def decode_settings(value: bytes) -> NamespaceSettings:
    return NamespaceSettings(**json.loads(value))
