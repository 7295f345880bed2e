"""SHOW GRANTS: one's own for everybody, those of others for administrators."""

from __future__ import annotations

import pytest

from tests.front_driver import NOW_US, FrontDriver
from z4sql.access.model import Role, User
from z4sql.sql.catalog.catalog import Z4Catalog
from z4sql.sql.errors import SqlError
from z4sql.sql.front.front import Front

USERS = {
    "root": User("root", frozenset({Role.ADMIN})),
    "ann": User("ann", frozenset({Role.READ})),
    "bob": User("bob", frozenset({Role.PRODUCE})),
}
READS = ["GRANT USAGE ON *.* TO `{}`@`%`", "GRANT SELECT ON `z4`.* TO `{}`@`%`"]


def driver(user: str) -> FrontDriver:
    made = FrontDriver(user)
    made.front = Front(made.runner, Z4Catalog(), made.connections, lambda: NOW_US, user=USERS.get)
    return made


@pytest.mark.parametrize(
    ("asked_by", "sql", "user", "lines"),
    [
        ("ann", "SHOW GRANTS", "ann", 2),
        ("ann", "SHOW GRANTS FOR CURRENT_USER", "ann", 2),
        ("ann", "SHOW GRANTS FOR current_user()", "ann", 2),
        ("ann", "SHOW GRANTS FOR 'ann'@'localhost'", "ann", 2),
        ("bob", "SHOW GRANTS", "bob", 1),
        ("root", "SHOW GRANTS FOR 'ann'@'%'", "ann", 2),
        ("root", "SHOW GRANTS FOR `ann`", "ann", 2),
        ("root", "SHOW GRANTS FOR bob@localhost", "bob", 1),
    ],
)
async def test_grants_are_those_of_the_account(asked_by: str, sql: str, user: str, lines: int) -> None:
    rows = await driver(asked_by).rows(sql)
    assert rows == [(line.format(user),) for line in READS[:lines]]


@pytest.mark.parametrize(
    ("asked_by", "sql", "code"),
    [
        ("ann", "SHOW GRANTS FOR bob", 1142),
        ("ann", "SHOW GRANTS FOR nobody", 1142),
        ("root", "SHOW GRANTS FOR nobody", 1141),
        ("ann", "SHOW GRANTS FOR CURRENT_USER(", 1064),
        ("ann", "SHOW GRANTS FOR ann bob", 1064),
    ],
)
async def test_grants_that_are_not_shown(asked_by: str, sql: str, code: int) -> None:
    with pytest.raises(SqlError) as caught:
        await driver(asked_by).run(sql)
    assert caught.value.code == code
