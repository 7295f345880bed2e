"""Logging in: who gets in, who does not, and that nothing a stranger sends hurts the server."""

from __future__ import annotations

import asyncio
import random
import ssl
import struct

import pytest

from tests.wire_peer import server_tls, serving
from tests.wire_raw import (
    ATTRIBUTES,
    PLAIN,
    PLUGIN_AUTH,
    PROTOCOL_41,
    SECURE,
    SSL,
    WITH_DATABASE,
    Raw,
    error_code,
    login,
    native_answer,
    raw,
    sha2_answer,
)
from z4sql.sql.wire.auth import Account, StaticAccounts, StoredPassword
from z4sql.sql.wire.settings import WireSettings

ACCOUNTS = StaticAccounts({"ann": Account((StoredPassword.of("old"), StoredPassword.of("new")))})
QUICK = WireSettings(failed_login_pause_s=0.0)


async def alive(port: int) -> None:
    async with raw(port) as client:
        await client.log_in()
        assert (await client.ask(b"\x0e"))[0] == 0


@pytest.mark.parametrize("user", [b"ann", b"nobody"])
async def test_a_client_that_ignores_its_refusal_gets_nothing(user: bytes) -> None:
    async with serving(accounts=ACCOUNTS) as (port, front), raw(port) as client:
        greeting = await client.greeting()
        client.send(login(user, answer=sha2_answer(b"wrong", greeting.nonce)), 1)
        client.send(b"\x03select 1")
        assert error_code(await client.payload()) == 1045
        assert await client.reader.read() == b""
        assert front.executed == [] and front.sessions == {}


async def test_unknown_user_and_wrong_password_take_the_same_packets() -> None:
    answers = []
    async with serving(accounts=ACCOUNTS) as (port, _):
        for user in (b"ann", b"bob"):
            async with raw(port) as client:
                greeting = await client.greeting()
                client.send(login(user, answer=sha2_answer(b"wrong", greeting.nonce)), 1)
                answers.append((await client.reader.read()).replace(user, b"???"))
    assert answers[0] == answers[1]


@pytest.mark.parametrize("password", [b"old", b"new"])
async def test_either_password_of_an_account_opens_it(password: bytes) -> None:
    async with serving(accounts=ACCOUNTS) as (port, _), raw(port) as client:
        greeting = await client.greeting()
        assert greeting.plugin == "caching_sha2_password"
        client.send(login(b"ann", answer=sha2_answer(password, greeting.nonce)), 1)
        assert await client.packet() == (2, b"\x01\x03")
        assert (await client.payload())[0] == 0


async def test_native_passwords_by_switch_when_named_and_directly_without_plugins() -> None:
    async with serving(accounts=ACCOUNTS) as (port, _):
        async with raw(port) as client:
            await client.greeting()
            client.send(login(b"ann", plugin=b"mysql_native_password"), 1)
            sequence, switch = await client.packet()
            assert sequence == 2 and switch.startswith(b"\xfemysql_native_password\0")
            client.send(native_answer(b"new", switch[-21:-1]), 3)
            assert (await client.packet())[1][0] == 0
        async with raw(port) as client:
            greeting = await client.greeting()
            answer = native_answer(b"old", greeting.nonce)
            client.send(login(b"ann", capabilities=PROTOCOL_41 | SECURE, answer=answer), 1)
            assert (await client.packet())[1][0] == 0
        async with raw(port) as client:
            greeting = await client.greeting()
            client.send(login(b"ann", plugin=b"dialog"), 1)
            switch = await client.payload()
            assert switch.startswith(b"\xfecaching_sha2_password\0")
            client.send(sha2_answer(b"new", switch[-21:-1]), 3)
            assert await client.payload() == b"\x01\x03"


@pytest.mark.parametrize("answer", [b"", b"\0", b"x", bytes(20), bytes(32), bytes(200)])
async def test_answers_of_any_length_are_refused_alike(answer: bytes) -> None:
    async with serving(accounts=ACCOUNTS) as (port, _), raw(port) as client:
        await client.greeting()
        client.send(login(b"ann", answer=answer), 1)
        assert error_code(await client.payload()) == 1045


async def test_every_collation_id_may_log_in() -> None:
    async with serving() as (port, _):
        for collation in range(256):
            async with raw(port) as client:
                await client.greeting()
                client.send(login(collation=collation), 1)
                assert (await client.payload())[0] == 0, collation


async def test_unknown_database_is_told_and_ends_the_connection() -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.greeting()
        client.send(login(capabilities=PLAIN | WITH_DATABASE, database=b"nosuch"), 1)
        assert error_code(await client.payload()) == 1049
        assert await client.closed()


MALFORMED = {
    "user without its NUL": struct.pack("<IIB23x", PLAIN, 1 << 24, 255) + b"root" * 5,
    "answer longer than the packet": struct.pack("<IIB23x", PLAIN, 1, 255) + b"root\0\xff1234",
    "plugin without its NUL": login()[:-1],
    "attributes longer than the packet": login(capabilities=PLAIN | ATTRIBUTES, tail=b"\xfe" + b"\xff" * 8),
    "attributes cut short": login(capabilities=PLAIN | ATTRIBUTES, tail=b"\x04\x09abc"),
    "empty": b"",
    "shorter than the fixed part": b"\x0d\xa2\x3a",
    "older than protocol 4.1": b"\x85\xa2\x00\x00\x00root\0\0",
    "TLS asked in a long packet": login(capabilities=PLAIN | SSL),
    "TLS asked where none is": struct.pack("<IIB23x", PLAIN | SSL, 1 << 24, 255),
}


@pytest.mark.parametrize("packet", MALFORMED.values(), ids=MALFORMED)
async def test_a_malformed_login_gets_an_error_and_an_end(packet: bytes) -> None:
    async with serving() as (port, _):
        async with raw(port) as client:
            await client.greeting()
            client.send(packet, 1)
            assert error_code(await client.payload()) == 1043
            assert await client.closed()
        await alive(port)


async def test_two_thousand_random_logins_leave_the_server_alive() -> None:
    random_source = random.Random(20260101)
    template = login(
        capabilities=PLAIN | ATTRIBUTES | WITH_DATABASE,
        database=b"z4",
        answer=bytes(32),
        tail=b"\x08\x03abc\x03xyz",
    )

    def packet() -> bytes:
        kind = random_source.randrange(4)
        if kind == 0:
            return random_source.randbytes(random_source.randrange(200))
        if kind == 1:
            return template[: random_source.randrange(len(template))]
        mutated = bytearray(template)
        for _ in range(random_source.randrange(1, 6)):
            mutated[random_source.randrange(len(mutated) if kind == 2 else 36)] = random_source.randrange(256)
        return bytes(mutated)

    async def stranger(port: int) -> None:
        async with raw(port) as client:
            await client.greeting()
            client.send(packet(), 1)
            client.writer.write_eof()
            assert await client.closed()

    async with serving(accounts=ACCOUNTS) as (port, front):
        for _ in range(100):
            await asyncio.gather(*(stranger(port) for _ in range(20)))
        assert front.sessions == {} and front.executed == []
        async with raw(port) as client:
            await client.greeting()
            client.send(login(b"ann"), 1)
            assert error_code(await client.payload()) == 1045


async def test_a_login_may_come_byte_by_byte() -> None:
    async with serving() as (port, _), raw(port) as client:
        await client.greeting()
        packet = login()
        for byte in struct.pack("<I", len(packet) | 1 << 24) + packet:
            client.writer.write(bytes((byte,)))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert (await client.payload())[0] == 0


async def test_strangers_may_not_send_large_packets() -> None:
    async with serving() as (port, _):
        async with raw(port) as client:
            await client.greeting()
            client.writer.write(struct.pack("<I", 65_537 | 1 << 24) + bytes(1000))
            assert error_code(await client.payload()) == 1153
            assert await client.closed()
        async with raw(port) as client:
            await client.greeting()
            client.send(login(plugin=b"dialog"), 1)
            await client.payload()
            client.writer.write(struct.pack("<I", 0xFFFFFF | 3 << 24) + bytes(1000))
            assert error_code(await client.payload()) == 1153


async def test_a_silent_client_is_dropped_at_the_deadline() -> None:
    settings = WireSettings(login_timeout_s=0.1)
    async with serving(settings=settings) as (port, front):
        async with raw(port) as silent, raw(port) as slow:
            await silent.greeting()
            await slow.greeting()
            slow.writer.write(b"\x40\0\0")
            assert await silent.closed() and await slow.closed()
        assert len(front.connections) == 0


async def test_connections_above_the_cap_are_told_and_closed() -> None:
    async with serving(settings=WireSettings(connections_max=2)) as (port, front):
        async with raw(port) as one, raw(port) as two:
            await one.log_in()
            await two.log_in()
            async with raw(port) as three:
                assert await three.payload() == b"\xff\x10\x04Too many connections"
                assert await three.closed()
        async with asyncio.timeout(5):
            while len(front.connections):
                await asyncio.sleep(0.01)
        await alive(port)


async def test_strangers_keep_no_place_from_those_who_log_in() -> None:
    """Of all who have not logged in, whoever came first has to go."""
    async with serving(settings=WireSettings(connections_max=3)) as (port, front):
        async with raw(port) as known:
            await known.log_in()
            async with raw(port) as first, raw(port) as second:
                await first.greeting()
                await second.greeting()
                async with raw(port) as third:
                    await third.log_in()
                    assert await first.closed()
                    for _ in range(50):
                        async with raw(port) as stranger:
                            await stranger.greeting()
                    assert await second.closed()
                    assert (await third.query("select 1"))[0] == 1
            assert (await known.query("select 1"))[0] == 1
        async with asyncio.timeout(5):
            while len(front.connections):
                await asyncio.sleep(0.01)


async def test_users_have_a_cap_of_their_own() -> None:
    async with serving(settings=WireSettings(connections_per_user_max=1)) as (port, _), raw(port) as one:
        await one.log_in("ann")
        async with raw(port) as other:
            await other.log_in("bob")
        async with raw(port) as second:
            await second.greeting()
            second.send(login(b"ann"), 1)
            assert error_code(await second.payload()) == 1226
            assert await second.closed()


async def test_attributes_reach_the_session_but_not_those_the_server_sets() -> None:
    tail = b"\x24\x0c_client_name\x05tests\x0e_z4_ssl_cipher\x01x"
    tail = bytes((len(tail) - 1,)) + tail[1:]
    async with serving() as (port, front), raw(port) as client:
        await client.greeting()
        client.send(login(capabilities=PLAIN | ATTRIBUTES, tail=tail), 1)
        assert (await client.payload())[0] == 0
        (session,) = front.sessions.values()
        assert session.attributes == {"_client_name": "tests"}


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    return server_tls(tmp_path_factory.mktemp("tls"))


class TlsClient:
    """TLS over memory buffers, so that a test decides what stands in one segment."""

    def __init__(self, client: Raw) -> None:
        self.client = client
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self.tls = context.wrap_bio(self.incoming, self.outgoing)

    def hello(self) -> bytes:
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        return self.outgoing.read()

    async def pump(self, step: str, *arguments: object) -> object:
        async with asyncio.timeout(5):
            while True:
                try:
                    done = getattr(self.tls, step)(*arguments)
                    self.client.writer.write(self.outgoing.read())
                    return done
                except ssl.SSLWantReadError:
                    self.client.writer.write(self.outgoing.read())
                    self.incoming.write(await self.client.reader.read(1 << 16))


SSL_REQUEST = struct.pack("<I", 32 | 1 << 24) + struct.pack("<IIB23x", PLAIN | SSL, 1 << 24, 255)


@pytest.mark.parametrize("coalesced", [True, False])
async def test_a_client_hello_in_the_segment_of_the_request_is_served(
    tls: ssl.SSLContext, coalesced: bool
) -> None:
    async with serving(settings=WireSettings(tls=tls, tls_required=True)) as (port, front):
        for _ in range(20):
            async with raw(port) as client:
                greeting = await client.greeting()
                assert greeting.capabilities & SSL
                secure = TlsClient(client)
                if coalesced:
                    client.writer.write(SSL_REQUEST + secure.hello())
                else:
                    client.writer.write(SSL_REQUEST)
                    await client.writer.drain()
                    await asyncio.sleep(0.002)
                    client.writer.write(secure.hello())
                await secure.pump("do_handshake")
                packet = login(capabilities=PLAIN | SSL)
                await secure.pump("write", struct.pack("<I", len(packet) | 2 << 24) + packet)
                answer = await secure.pump("read", 100)
                assert isinstance(answer, bytes) and answer[3:5] == b"\x03\x00"
                assert "_z4_ssl_cipher" in front.sessions[greeting.connection_id].attributes


async def test_plaintext_behind_the_request_is_never_taken_for_the_login(tls: ssl.SSLContext) -> None:
    async with serving(settings=WireSettings(tls=tls)) as (port, front), raw(port) as client:
        await client.greeting()
        packet = login(capabilities=PLAIN | SSL)
        client.writer.write(
            SSL_REQUEST + struct.pack("<I", len(packet) | 2 << 24) + packet + b"\x09\0\0\0\x03select 1"
        )
        assert await client.closed()
        assert front.sessions == {} and front.executed == []


async def test_plaintext_logins_are_refused_where_tls_is_required(tls: ssl.SSLContext) -> None:
    async with (
        serving(settings=WireSettings(tls=tls, tls_required=True)) as (port, front),
        raw(port) as client,
    ):
        await client.greeting()
        client.send(login(), 1)
        assert error_code(await client.payload()) == 3159
        assert await client.closed()
        assert front.sessions == {}


def test_an_account_needs_a_password_and_hides_its_hashes() -> None:
    with pytest.raises(ValueError):
        StoredPassword.of("")
    assert "sha2" not in repr(StoredPassword.of("x"))


def test_capabilities_that_are_dangerous_are_not_offered() -> None:
    from z4sql.sql.wire.requests import OFFERED

    multi_statements, local_files, compress = 0x10000, 0x80, 0x20
    assert not OFFERED & (multi_statements | local_files | compress)
    assert OFFERED & PLUGIN_AUTH
