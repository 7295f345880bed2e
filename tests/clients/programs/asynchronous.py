"""The matrix for aiomysql and asyncmy: python asynchronous.py DRIVER PORT USER PASSWORD MODE CA_FILE."""

import asyncio
import importlib
import ssl
import sys
from pathlib import Path

STATEMENTS = dict(
    line.split("=", 1) for line in Path(__file__).with_name("statements.txt").read_text().splitlines()
)


def tell(name, *values):
    for value in values:
        value = value.hex() if isinstance(value, bytes) else value
        print(name, "NULL" if value is None else value, sep="\t", flush=True)


async def main():
    driver, port, user, password, mode, ca_file = sys.argv[1:]
    library = importlib.import_module(driver)
    errors = importlib.import_module("pymysql.err" if driver == "aiomysql" else "asyncmy.errors")
    password = password.encode("utf-8").decode("latin-1")  # both send a str as latin-1
    connection = await library.connect(
        host="127.0.0.1",
        port=int(port),
        user=user,
        password=password,
        db="z4",
        charset="utf8mb4",
        ssl=ssl.create_default_context(cafile=ca_file) if mode == "tls" else None,
    )

    async def rows(sql, parameters=None):
        async with connection.cursor() as cursor:
            await cursor.execute(sql, parameters)
            return await cursor.fetchall()

    async def fails(name, told):
        try:
            await rows(STATEMENTS[name])
        except errors.MySQLError as error:
            tell(told, error.args[0])
            return error.args[1]
        tell(told, "no error")
        return ""

    for name in ("databases", "tables", "columns", "answered"):
        tell(name, *(row[0] for row in await rows(STATEMENTS[name])))
    for column in ("deliver_at", "namespace"):
        tell("refusal", column in await fails("refused_" + column, "refused"))
    for namespace in ("welcome_emails", "x' OR '1'='1"):
        query = STATEMENTS["prepared"].replace("?", "%s")
        found = await rows(query, ("it's \\ ?", namespace, "2022-04-16"))
        tell("prepared", *(value for row in found for value in row))
    await rows(STATEMENTS["zone"])
    (cells,) = await rows(STATEMENTS["cells"])
    names = ("null", "json", "payload", "deliver_at", "lateness", "decimal", "unsigned", "double")
    for name, value in zip(names, cells, strict=True):
        tell(name, value)
    async with connection.cursor(library.cursors.SSCursor) as cursor:
        await cursor.execute(STATEMENTS["stream"])
        total = 0
        while row := await cursor.fetchone():
            total += row[0]
    tell("streamed", total)
    await fails("failing", "failed")
    tell("connection", (await rows("SELECT CONNECTION_ID()"))[0][0])
    await fails("sleeping", "killed")
    await rows(STATEMENTS["limit"])
    await fails("sleeping", "timeout")
    tell("after", (await rows("SELECT 1"))[0][0])
    connection.close()


asyncio.run(main())
