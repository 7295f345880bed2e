"""SHOW CREATE TABLE in MySQL's exact layout, which tools parse."""

from __future__ import annotations

from z4sql.sql.catalog.z4_tables import DATABASE, KEYS
from z4sql.sql.types import Collation, ColumnDefinition, Kind, TableDefinition


def quoted(name: str) -> str:
    doubled = name.replace("`", "``")
    return f"`{doubled}`"


def create_table(table: TableDefinition) -> str:
    """MySQL manual: SHOW CREATE TABLE Statement."""
    lines = [_column(column) for column in table.columns]
    for name, unique, columns in KEYS.get(table.name, ()) if table.database == DATABASE else ():
        names = ",".join(quoted(column) for column in columns)
        if name == "PRIMARY":
            lines.append(f"  PRIMARY KEY ({names})")
        else:
            lines.append(f"  {'UNIQUE ' if unique else ''}KEY {quoted(name)} ({names})")
    body = ",\n".join(lines)
    options = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_0900_ai_ci"
    comment = f" COMMENT={_text(table.comment)}" if table.comment else ""
    return f"CREATE TABLE {quoted(table.name)} (\n{body}\n) {options}{comment}"


def _text(value: str) -> str:
    doubled = value.replace("'", "''")
    return f"'{doubled}'"


def _column(column: ColumnDefinition) -> str:
    parts = [f"  {quoted(column.name)} {column.column_type}"]
    if column.type.kind is Kind.STRING and column.type.collation is not Collation.AI_CI:
        parts.append(f"CHARACTER SET utf8mb4 COLLATE {column.type.collation.value}")
    if not column.nullable:
        parts.append("NOT NULL")
    elif column.type.kind is Kind.TIMESTAMP:
        parts.append("NULL DEFAULT NULL")
    elif column.column_type not in ("text", "longtext", "longblob"):
        parts.append("DEFAULT NULL")
    if column.comment:
        parts.append(f"COMMENT {_text(column.comment)}")
    return " ".join(parts)
