"""The matrix for Python's blocking drivers: python dbapi.py DRIVER PORT USER PASSWORD MODE CA_FILE."""

import sys
from pathlib import Path

STATEMENTS = dict(
    line.split("=", 1) for line in Path(__file__).with_name("statements.txt").read_text().splitlines()
)


def connect(driver, port, user, password, mode, ca_file):
    """(connection, sign of a parameter, class of its errors)"""
    common = {"host": "127.0.0.1", "port": int(port), "user": user, "password": password, "database": "z4"}
    if driver == "pymysql":
        import ssl

        import pymysql

        common["password"] = password.encode()  # a str is sent as latin-1
        context = ssl.create_default_context(cafile=ca_file) if mode == "tls" else None
        return pymysql.connect(**common, ssl=context, ssl_disabled=mode != "tls"), "%s", pymysql.err.Error
    if driver == "mysqlclient":
        import MySQLdb

        options = {"ssl": {"ca": ca_file}} if mode == "tls" else {}
        if mode == "native":
            options["auth_plugin"] = "mysql_native_password"
        return MySQLdb.connect(**common, charset="utf8mb4", **options), "%s", MySQLdb.Error
    if driver.startswith("connector"):
        import mysql.connector

        options = {"ssl_ca": ca_file, "ssl_verify_cert": True} if mode == "tls" else {"ssl_disabled": True}
        if mode == "native":
            options["auth_plugin"] = "mysql_native_password"
        pure = driver == "connector-pure"
        return mysql.connector.connect(**common, use_pure=pure, **options), "%s", mysql.connector.Error
    import pyodbc

    words = f"DRIVER=MariaDB Unicode;SERVER=127.0.0.1;PORT={port};DATABASE=z4;UID={user};PWD={{{password}}}"
    words += f";SSLCA={ca_file};SSLVERIFY=1" if mode == "tls" else ""
    words += ";INITSTMT={SET NAMES utf8mb4}"
    return pyodbc.connect(words, autocommit=True), "?", pyodbc.Error


def tell(name, *values):
    for value in values:
        if isinstance(value, bytes | bytearray) and name == "payload":
            value = value.hex()
        elif isinstance(value, bytes | bytearray):
            value = value.decode()
        print(name, "NULL" if value is None else value, sep="\t", flush=True)


def code_of(error):
    """ODBC puts the number into the text: "... (1104)"."""
    number, *rest = error.args
    if isinstance(number, int):
        return number
    words = str(rest[0])
    return int(words[words.rindex("(", 0, words.rindex("(SQL")) + 1 :].split(")", maxsplit=1)[0])


def main():
    driver, *address = sys.argv[1:]
    connection, sign, failures = connect(driver, *address)
    cursor = connection.cursor()

    def rows(name):
        cursor.execute(STATEMENTS[name])
        return cursor.fetchall()

    def fails(name, told):
        try:
            rows(name)
        except failures as error:
            tell(told, code_of(error))
            return str(error)
        tell(told, "no error")
        return ""

    for name in ("databases", "tables", "columns"):
        tell(name, *(row[0] for row in rows(name)))
    tell("answered", *(row[0] for row in rows("answered")))
    for column in ("deliver_at", "namespace"):
        tell("refusal", column in fails("refused_" + column, "refused"))
    if driver.startswith("connector"):
        cursor = connection.cursor(prepared=True)
    query = STATEMENTS["prepared"].replace("?", sign)
    for namespace in ("welcome_emails", "x' OR '1'='1"):
        cursor.execute(query, ("it's \\ ?", namespace, "2022-04-16"))
        tell("prepared", *(value for row in cursor.fetchall() for value in row))
    if driver.startswith("connector"):
        cursor = connection.cursor()
    cursor.execute(STATEMENTS["zone"])
    (cells,) = rows("cells")
    names = ("null", "json", "payload", "deliver_at", "lateness", "decimal", "unsigned", "double")
    for name, value in zip(names, cells, strict=True):
        tell(name, value)
    cursor.execute(STATEMENTS["stream"])
    tell("streamed", sum(row[0] for row in cursor.fetchall()))
    fails("failing", "failed")
    cursor.execute("SELECT CONNECTION_ID()")
    tell("connection", cursor.fetchall()[0][0])
    fails("sleeping", "killed")
    cursor.execute(STATEMENTS["limit"])
    fails("sleeping", "timeout")
    cursor.execute("SELECT 1")
    tell("after", cursor.fetchall()[0][0])
    connection.close()


main()
