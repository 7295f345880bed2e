"""Queries that differ in the texts of some literals only, as dashboards and prepared statements send them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlglot import exp


@dataclass(slots=True, frozen=True, eq=False)
class Shape:
    """A parsed query with the literals that may change: those that conditions compare columns with.

    ``text`` is one statement of this shape. The tree belongs to the shape, and holds the values filled in
    last: use it at once, and keep nothing of it.
    """

    query: exp.Expression
    text: str
    holes: tuple[exp.Literal, ...]

    def fill(self, values: Sequence[str]) -> None:
        """Make the tree that of the statement with these texts in its literals."""
        for hole, value in zip(self.holes, values, strict=True):
            hole.set("this", value)


@dataclass(slots=True, frozen=True)
class Shaped:
    """A statement: a shape, and the texts of its literals."""

    shape: Shape
    values: tuple[str, ...]
