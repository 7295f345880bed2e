"""What generators of SQL are built with."""

from __future__ import annotations

from hypothesis import strategies as st

Sql = st.SearchStrategy[str]


def call(template: str, *arguments: Sql) -> Sql:
    """``template`` with every argument in its place."""
    return st.tuples(*arguments).map(lambda values: template.format(*values))


def quoted(values: tuple[str, ...]) -> Sql:
    return st.sampled_from(["'" + value.replace("\\", "\\\\") + "'" for value in values])
