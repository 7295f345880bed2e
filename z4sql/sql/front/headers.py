"""Names of result columns where they are not those of the text that is run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from z4sql.sql.front.prepared import bind
from z4sql.sql.lowering.names import typed_names
from z4sql.sql.result import Parameter, Result, ResultSet
from z4sql.sql.types import ResultColumn

_SCHEMA = "information_schema"
_NO_VIEWS = """
APPLICABLE_ROLES COLLATIONS COLUMN_PRIVILEGES ENABLED_ROLES ENGINES OPTIMIZER_TRACE PLUGINS PROCESSLIST
PROFILING ROLE_COLUMN_GRANTS ROLE_ROUTINE_GRANTS ROLE_TABLE_GRANTS SCHEMA_PRIVILEGES TABLE_PRIVILEGES
USER_PRIVILEGES INNODB_BUFFER_PAGE INNODB_BUFFER_PAGE_LRU INNODB_BUFFER_POOL_STATS INNODB_CACHED_INDEXES
INNODB_CMP INNODB_CMPMEM INNODB_CMPMEM_RESET INNODB_CMP_PER_INDEX INNODB_CMP_PER_INDEX_RESET
INNODB_CMP_RESET INNODB_COLUMNS INNODB_FOREIGN INNODB_FT_BEING_DELETED INNODB_FT_CONFIG
INNODB_FT_DEFAULT_STOPWORD INNODB_FT_DELETED INNODB_FT_INDEX_CACHE INNODB_FT_INDEX_TABLE INNODB_INDEXES
INNODB_METRICS INNODB_SESSION_TEMP_TABLESPACES INNODB_TABLES INNODB_TABLESPACES INNODB_TABLESTATS
INNODB_TEMP_TABLE_INFO INNODB_TRX INNODB_VIRTUAL
"""
_AS_TYPED = frozenset(_NO_VIEWS.split())
"""Tables of that schema whose columns are named as in any other table. Seen of MySQL 9.7."""


def shown_headers(query: exp.Expression, columns: Sequence[ResultColumn]) -> tuple[ResultColumn, ...]:
    """Columns of information_schema under their own upper-case names, however the query spells them.

    MySQL manual: INFORMATION_SCHEMA Introduction; most of its tables are views, and aliases stay as they are.
    """
    if not any(column.database == _SCHEMA for column in columns):
        return tuple(columns)
    while isinstance(query, (exp.Subquery, exp.SetOperation)):
        query = query.this
    selected = query.selects if isinstance(query, exp.Query) else []
    aliases = {one.alias for one in selected if isinstance(one, exp.Alias)}
    return tuple(
        replace(column, name=column.original_name)
        if column.database == _SCHEMA
        and column.original_table not in _AS_TYPED
        and column.name not in aliases
        and column.name.lower() == column.original_name.lower()
        else column
        for column in columns
    )


@dataclass(slots=True, frozen=True)
class PreparedHeader:
    """An item of a prepared select list; its placeholders are at ``offsets``, and those from ``first`` on.

    ``place``: among the columns; negative from their end.
    """

    place: int
    text: str
    offsets: tuple[int, ...]
    first: int

    def stands_for(self, name: str, values: Sequence[Parameter]) -> bool:
        """Whether a column is called ``name`` because that is what the item is with ``values``."""
        own = values[self.first : self.first + len(self.offsets)]
        return self.text == "?" or bind(self.text, self.offsets, own).split() == name.split()


def prepared_headers(text: str, offsets: Sequence[int]) -> tuple[PreparedHeader, ...]:
    """Of the items that have placeholders: MySQL shows them as they were prepared."""
    headers = []
    names = typed_names(text) if offsets else []
    stars = [place for place, name in enumerate(names) if name.endswith("*")]
    at = 0
    for number, name in enumerate(names):
        at = text.index(name, at)
        inside = tuple(offset - at for offset in offsets if at <= offset < at + len(name))
        # Nobody knows here how many columns a star has: items behind one are counted from the end.
        place = number - len(names) if stars and number > stars[-1] else number
        if inside and not (stars and stars[0] < number < stars[-1]):
            headers.append(PreparedHeader(place, name, inside, offsets.index(inside[0] + at)))
        at += len(name)
    return tuple(headers)


def as_prepared(
    columns: Sequence[ResultColumn], headers: Sequence[PreparedHeader], values: Sequence[Parameter]
) -> tuple[ResultColumn, ...]:
    """``columns`` under the names that they have whatever the values are."""
    shown = list(columns)
    for header in headers:
        if -len(shown) <= header.place < len(shown) and header.stands_for(shown[header.place].name, values):
            shown[header.place] = replace(shown[header.place], name=header.text)
    return tuple(shown)


def show_as_prepared(result: Result, headers: Sequence[PreparedHeader], values: Sequence[Parameter]) -> None:
    """Give the columns of ``result`` the names of `as_prepared`."""
    if isinstance(result, ResultSet) and headers:
        result.columns = as_prepared(result.columns, headers, values)
        # What is kept has the names of the same text that nobody prepared.
        result.packets = None
