"""The delay before the next attempt grows, is spread, and never leaves its limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from z4sql.tasks.backoff import backoff_ms
from z4sql.tasks.model import NamespaceSettings

week_ms = 7 * 86_400_000
settings = st.builds(
    lambda least, more, multiplier: NamespaceSettings(
        backoff_min_ms=least, backoff_max_ms=min(least + more, week_ms), backoff_multiplier=multiplier
    ),
    st.integers(0, week_ms),
    st.integers(0, week_ms),
    st.floats(1, 100),
)
chances = st.floats(0, 1, exclude_max=True)


@given(settings, st.integers(1, 1_000_000), chances)
def test_it_never_leaves_its_limits(chosen: NamespaceSettings, attempts: int, chance: float) -> None:
    assert chosen.backoff_min_ms <= backoff_ms(chosen, attempts, chance) <= chosen.backoff_max_ms


@given(settings, st.integers(1, 40), chances)
def test_it_never_shrinks_with_more_attempts(chosen: NamespaceSettings, attempts: int, chance: float) -> None:
    assert backoff_ms(chosen, attempts, chance) <= backoff_ms(chosen, attempts + 1, chance)


def test_it_doubles_and_is_spread_by_a_quarter() -> None:
    chosen = NamespaceSettings(backoff_min_ms=1_000, backoff_max_ms=60_000, backoff_multiplier=2)
    spread = [
        (backoff_ms(chosen, attempts, 0), backoff_ms(chosen, attempts, 0.999999)) for attempts in range(1, 9)
    ]
    assert spread == [
        (1_000, 1_250),
        (1_500, 2_500),
        (3_000, 5_000),
        (6_000, 10_000),
        (12_000, 20_000),
        (24_000, 40_000),
        (45_000, 60_000),
        (45_000, 60_000),
    ]


def test_a_fixed_delay_is_kept_exactly() -> None:
    chosen = NamespaceSettings(backoff_min_ms=500, backoff_max_ms=500)
    assert {backoff_ms(chosen, attempts, 0.7) for attempts in range(1, 50)} == {500}
