"""How long a task waits after a failed attempt."""

from __future__ import annotations

from typing import Final

from z4sql.tasks.model import NamespaceSettings

_SPREAD: Final = 0.25


def backoff_ms(settings: NamespaceSettings, attempts: int, random: float) -> int:
    """The delay before the next attempt: ``backoff_min_ms * backoff_multiplier ** (attempts - 1)``, spread
    by a quarter to either side, never outside of ``[backoff_min_ms, backoff_max_ms]``.

    ``attempts`` is how many were made, 1 or more; ``random`` lies in ``[0, 1)``. Decided once, by the leader,
    and carried in the command.
    """
    least, most = settings.backoff_min_ms, settings.backoff_max_ms
    try:
        middle = min(float(most), least * settings.backoff_multiplier ** max(attempts - 1, 0))
    except OverflowError:
        middle = float(most) if least else 0.0
    lo = max(float(least), middle * (1 - _SPREAD))
    hi = min(float(most), middle * (1 + _SPREAD))
    return min(round(lo + random * max(hi - lo, 0.0)), most)
