"""How busy a host's three workers are: what runs out first (after hashicorp/raft's saturation metric)."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Shares:
    """Parts of the wall time since the last reading, 0..1 each, and how often the loop came late."""

    turns: float
    applying: float
    flushing: float
    stalls: int


class Saturation:
    """Adds up busy time; `shares` reads and resets it."""

    __slots__ = ("_since_s", "applying_s", "flushing_s", "stalls", "turns_s")

    def __init__(self) -> None:
        self.turns_s = 0.0
        self.applying_s = 0.0
        self.flushing_s = 0.0
        self.stalls = 0
        self._since_s = time.perf_counter()

    def shares(self) -> Shares:
        now_s = time.perf_counter()
        wall_s = max(now_s - self._since_s, 1e-9)
        shares = Shares(
            turns=self.turns_s / wall_s,
            applying=self.applying_s / wall_s,
            flushing=self.flushing_s / wall_s,
            stalls=self.stalls,
        )
        self.turns_s = self.applying_s = self.flushing_s = 0.0
        self.stalls = 0
        self._since_s = now_s
        return shares
