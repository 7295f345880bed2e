"""MySQL queries for the engine, by types: no untyped rewriting, nothing guessed."""

from z4sql.sql.lowering.expressions import SourceUse
from z4sql.sql.lowering.statement import Lowered, lower

__all__ = ["Lowered", "SourceUse", "lower"]
