"""A JSON path begins with ``$``, and its names with ``.``: whatever else the parser would forgive is 3143."""

from __future__ import annotations

import pytest
import sqlglot
from sqlglot import exp

from tests.planner_tables import NOW_US
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.context import StatementContext
from z4sql.sql.errors import SqlError
from z4sql.sql.lowering.statement import lower

BAD_PATHS = ("a", "$a", "", "[0]", "a.b", ".a", "a[0]", "$.", "$.a-b", "$[-1]", "$**", " a")
GOOD_PATHS = ("$", "$.a", " $.a", '$."a b"', "$[0]", "$.a[last]")
DOCUMENT = """'{"a": 1}'"""
CALLS = (
    "JSON_EXTRACT({document}, {path})",
    "json_extract({document}, '$.b', {path})",
    "`JSON_EXTRACT` ({document} , {path})",
    "JSON_UNQUOTE(JSON_EXTRACT({document}, {path}))",
    "JSON_EXTRACT(JSON_EXTRACT({document}, {path}), '$')",
    "JSON_VALUE({document}, {path})",
    "JSON_VALUE({document}, {path} RETURNING SIGNED)",
    "JSON_KEYS({document}, {path})",
    "JSON_LENGTH({document}, {path})",
    "JSON_CONTAINS({document}, '1', {path})",
    "JSON_CONTAINS_PATH({document}, 'one', {path})",
    "JSON_SEARCH({document}, 'one', 'b', NULL, {path})",
    "JSON_SET({document}, {path}, 1)",
    "JSON_INSERT({document}, {path}, 1)",
    "JSON_REPLACE({document}, {path}, 1)",
    "JSON_ARRAY_APPEND({document}, {path}, 1)",
    "metadata->{path}",
    "metadata->>{path}",
    "JSON_EXTRACT(metadata, {path})",
)


def lowered(sql: str) -> None:
    query = sqlglot.parse_one(sql, read="mysql")
    assert isinstance(query, exp.Expression)
    lower(query, sql, Z4Catalog(), StatementContext(NOW_US, database="z4"))


@pytest.mark.parametrize("call", CALLS)
def test_a_path_that_mysql_refuses_is_refused_in_every_function(call: str) -> None:
    for path in BAD_PATHS:
        sql = "SELECT " + call.format(document=DOCUMENT, path=f"'{path}'") + " FROM tasks"
        with pytest.raises(SqlError) as caught:
            lowered(sql)
        assert caught.value.code == 3143, sql


@pytest.mark.parametrize("call", CALLS)
def test_paths_as_mysql_writes_them_are_read(call: str) -> None:
    for path in GOOD_PATHS:
        lowered("SELECT " + call.format(document=DOCUMENT, path=f"'{path}'") + " FROM tasks")


def test_texts_that_are_no_paths_are_left_alone() -> None:
    lowered("SELECT 'JSON_EXTRACT(x, ', 'a', CONCAT('json_value(', 'a'), JSON_ARRAY('a', 'b')")
    lowered("SELECT JSON_EXTRACT(CONCAT('{', '}'), '$'), JSON_EXTRACT('[1]', '$[0]'), 'a'")
