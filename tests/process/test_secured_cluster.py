"""Three real peers with TLS, users and tokens: who may do what, over gRPC and with a MySQL client."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import grpc
import pymysql
import pytest

from tests.streams import Stream
from z4sql.access.certificates import make_set
from z4sql.access.file import new_token, password_hashes, password_text, token_hash
from z4sql.api._pb import z4_pb2 as pb
from z4sql.cli.local_cluster import LocalCluster, PeerProcess, free_ports

ADMIN, MAILER, EATER, LEAVER, VIEWER = (new_token() for _ in range(5))
_WAIT_S = 30.0


class Secured:
    """The cluster, and calls to it."""

    def __init__(self, cluster: LocalCluster, certificates: Path, access: Path) -> None:
        self.peers = cluster.peers
        self.certificates = certificates
        self.access = access
        self._credentials = grpc.ssl_channel_credentials((certificates / "ca.crt").read_bytes())

    def call(self, peer: int, path: str, request: bytes, token: str | None) -> bytes:
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        with grpc.secure_channel(self.peers[peer].service_address, self._credentials) as channel:
            answer: bytes = channel.unary_unary(path)(request, timeout=10, metadata=metadata)
            return answer

    @contextmanager
    def stream(self, peer: int, path: str, token: str, *, queue: str = "") -> Iterator[Stream]:
        metadata: tuple[tuple[str, str], ...] = (("authorization", f"Bearer {token}"),)
        if queue:
            metadata = (*metadata, ("queue", queue))
        with (
            grpc.secure_channel(self.peers[peer].service_address, self._credentials) as channel,
            Stream(channel, path, metadata=metadata) as stream,
        ):
            yield stream

    def sql(self, user: str, password: str, *, tls: bool = True, peer: int = 0) -> pymysql.Connection:
        context = ssl.create_default_context(cafile=self.certificates / "ca.crt") if tls else None
        return pymysql.connect(
            host="127.0.0.1",
            port=self.peers[peer].ports.sql,
            user=user,
            password=password,
            database="z4",
            ssl=context,
            ssl_disabled=not tls,
        )


def _access(path: Path, *, passwords: str = "seen", leaver: str = '"produce", "consume"') -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(f"""
peer_token = "{"p" * 40}"
[users.root]
roles = ["admin"]
tokens = ["{token_hash(ADMIN).hex()}"]
[users.mailer]
roles = ["produce"]
namespaces = ["mail_*"]
tokens = ["{token_hash(MAILER).hex()}"]
[users.eater]
roles = ["consume"]
namespaces = ["mail_*"]
tokens = ["{token_hash(EATER).hex()}"]
[users.leaver]
roles = [{leaver}]
tokens = ["{token_hash(LEAVER).hex()}"]
[users.grafana]
roles = ["read"]
namespaces = ["mail_*"]
tokens = ["{token_hash(VIEWER).hex()}"]
passwords = ["{password_text(password_hashes(passwords))}"]
[users.operator]
roles = ["read"]
passwords = ["{password_text(password_hashes("all"))}"]
""")
    os.replace(fresh, path)


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def _healthy(secured: Secured, peer: int) -> bool:
    try:
        secured.call(peer, "/z4.Admin/CheckHealth", b"", None)
    except grpc.RpcError:
        return False
    return True


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory = tmp_path_factory.mktemp("secured")
    certificates, access = directory / "certificates", directory / "access.toml"
    make_set(certificates, ["peer1", "peer2", "peer3"], ["localhost", "127.0.0.1"])
    _access(access)
    with LocalCluster(directory, free_ports(3)) as cluster:
        secured = Secured(cluster, certificates, access)
        for peer in cluster.peers:
            peer.environment = {
                "Z4_ACCESS_FILE": str(access),
                "Z4_TLS_CERT_FILE": str(certificates / f"{peer.name}.crt"),
                "Z4_TLS_KEY_FILE": str(certificates / f"{peer.name}.key"),
                "Z4_TLS_CA_FILE": str(certificates / "ca.crt"),
                "Z4_SQL_REQUIRE_SECURE_TRANSPORT": "true",
            }
            peer.start()
        _until(lambda: _healthy(secured, 0), f"peer1 is healthy: see {cluster.peers[0].log}")
        for peer in cluster.peers[1:]:
            _add(secured, peer)
        for peer in cluster.peers:
            cluster.wait_sql(peer)
        yield secured


def _add(secured: Secured, peer: PeerProcess) -> None:
    request = pb.AddClusterMemberRequest(member_address=peer.peer_address, member_id=peer.name)
    secured.call(0, "/z4.Admin/AddClusterMember", request.SerializeToString(), ADMIN)


def _create(namespace: str) -> bytes:
    return pb.CreateTaskRequest(namespace=namespace, metadata={"k": "v"}).SerializeToString()


def _refused(
    secured: Secured, path: str, request: bytes, token: str | None, peer: int = 0
) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as refused:
        secured.call(peer, path, request, token)
    code: grpc.StatusCode = refused.value.code()  # type: ignore[attr-defined]  # grpc carries no types
    return code


def test_calls_are_let_in_by_token_role_and_namespace_at_every_peer(secured: Secured) -> None:
    """Through a follower too: it checks its caller, and passes the call on with the peers' token."""
    path = "/z4.Collection/CreateTask"
    for peer in range(3):
        answer = pb.CreateTaskResponse.FromString(secured.call(peer, path, _create("mail_out"), MAILER))
        assert answer.task.id
        assert _refused(secured, path, _create("mail_out"), None, peer) is grpc.StatusCode.UNAUTHENTICATED
        assert _refused(secured, path, _create("mail_out"), "guess", peer) is grpc.StatusCode.UNAUTHENTICATED
        assert _refused(secured, path, _create("other"), MAILER, peer) is grpc.StatusCode.PERMISSION_DENIED
    removal = pb.RemoveClusterMemberRequest(member_id="peer3").SerializeToString()
    refused = _refused(secured, "/z4.Admin/RemoveClusterMember", removal, MAILER)
    assert refused is grpc.StatusCode.PERMISSION_DENIED
    secured.call(0, path, _create("other"), ADMIN)


def test_streams_are_let_in_by_namespace_at_every_peer(secured: Secured) -> None:
    """A follower that passes a stream through says itself what it refuses."""
    inner = pb.StreamTasksRequest(namespace="other").SerializeToString() + b"\x7a\x01\xff"
    consume = pb.ConsumeRequest(start=pb.ConsumeStart(namespaces=["other"]))
    forbidden = [
        ("/z4.Queue/Consume", consume.SerializeToString()),
        ("/z4.Collection/GetTaskStream", pb.StreamTasksRequest(namespace="other").SerializeToString()),
        ("/z4.Collection/GetTaskStream", bytes((0x0A, len(inner))) + inner),
    ]
    for peer in range(3):
        for path, start in forbidden:
            with secured.stream(peer, path, EATER) as stream:
                stream.send(start)
                assert stream.ended.wait(10), f"{path} at peer {peer + 1} was left open"
                assert stream.error is not None and stream.error.code() is grpc.StatusCode.PERMISSION_DENIED
                assert not stream.received
        with secured.stream(peer, "/z4.Queue/Pull", EATER, queue="mail_in") as stream:
            stream.send(pb.PullAck(reference=pb.TaskReference(queue="other", task_id="0" * 26)))
            assert stream.ended.wait(10), f"Pull at peer {peer + 1} was left open"
            assert stream.error is not None and stream.error.code() is grpc.StatusCode.PERMISSION_DENIED
        with secured.stream(peer, "/z4.Collection/GetTaskStream", EATER) as stream:
            path = "/z4.Collection/CreateTask"
            made = pb.CreateTaskResponse.FromString(secured.call(peer, path, _create("mail_in"), ADMIN)).task
            stream.send(pb.PullRequest(start_req=pb.StreamTasksRequest(namespace="mail_in")))
            _until(lambda stream=stream: len(stream.received) == 1, "the task comes")  # type: ignore[misc]
            stream.send(pb.PullRequest(ack=pb.AckReference(namespace="mail_in", task_id=made.id)))
            request = pb.GetTaskRequest(namespace="mail_in", task_id=made.id, linearizable=True)
            ask = partial(secured.call, peer, "/z4.Collection/GetTask", request.SerializeToString(), ADMIN)
            _until(lambda ask=ask: pb.Task.FromString(ask()).state == "done", "it is done")  # type: ignore[misc]
            assert not stream.ended.is_set()


def test_open_streams_end_when_the_rights_are_taken_away(secured: Secured) -> None:
    """Those of users without restrictions, too, and those that a follower passes through."""
    start = pb.ConsumeRequest(start=pb.ConsumeStart(namespaces=["leaving"]), credit=9)
    opened: list[tuple[str, bytes]] = [
        ("/z4.Queue/Consume", start.SerializeToString()),
        ("/z4.Collection/GetTaskStream", pb.StreamTasksRequest(namespace="left").SerializeToString()),
        ("/z4.Queue/Pull", b""),
        ("/z4.Collection/CreateTasksStream", _batch("leaving")),
        ("/z4.Collection/CreateTaskStream", _create("leaving")),
    ]
    with ExitStack() as stack:
        streams = []
        for peer in range(3):
            for path, first in opened:
                stream = stack.enter_context(secured.stream(peer, path, LEAVER, queue="left"))
                stream.send(first)
                streams.append((f"{path} at peer {peer + 1}", stream))
        for what, stream in streams:
            if "Consume" in what or "Create" in what:
                _until(lambda stream=stream: bool(stream.received), what)  # type: ignore[misc]
        assert not any(stream.ended.is_set() for _, stream in streams)
        try:
            _access(secured.access, leaver="")
            deadline = time.monotonic() + 4
            for what, stream in streams:
                assert stream.ended.wait(max(0.1, deadline - time.monotonic())), f"{what} goes on"
                assert stream.error is not None, what
                assert stream.error.code() is grpc.StatusCode.PERMISSION_DENIED, what
        finally:
            _access(secured.access)


def test_what_was_accepted_before_a_refused_batch_is_answered(secured: Secured) -> None:
    for peer in range(3):
        with secured.stream(peer, "/z4.Collection/CreateTasksStream", MAILER) as stream:
            for namespace in ("mail_out", "mail_out", "other", "mail_out"):
                stream.send(_batch(namespace))
            assert stream.ended.wait(10), f"the stream at peer {peer + 1} was left open"
            answers = [pb.CreateTasksResponse.FromString(data) for _, data in stream.received]
            assert [[one.status for one in answer.results] for answer in answers] == [[0], [0]]
            assert stream.error is not None
            assert stream.error.code() is grpc.StatusCode.PERMISSION_DENIED


def test_namespaces_are_listed_to_those_who_may_read_them(secured: Secured) -> None:
    for namespace in ("mail_out", "other", "mail_a", "zz"):
        secured.call(0, "/z4.Collection/CreateTask", _create(namespace), ADMIN)
    for peer in range(3):
        for token in (ADMIN, VIEWER):
            names, page = [], ""
            while True:
                request = pb.ListNamespacesRequest(page_size=1, page_token=page).SerializeToString()
                answer = pb.ListNamespacesResponse.FromString(
                    secured.call(peer, "/z4.Admin/ListNamespaces", request, token)
                )
                names += [one.id for one in answer.namespaces]
                page = answer.next_page_token
                if not page:
                    break
            assert {"mail_a", "mail_out"} <= set(names)
            assert {"other", "zz"} <= set(names) if token == ADMIN else all("mail_" in one for one in names)


def _batch(namespace: str) -> bytes:
    return pb.CreateTasksRequest(tasks=[pb.CreateTaskRequest(namespace=namespace)]).SerializeToString()


def test_plain_text_gets_nothing_from_the_client_and_peer_ports(secured: Secured) -> None:
    for port in (secured.peers[0].ports.service, secured.peers[0].ports.peer):
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel, pytest.raises(grpc.RpcError):
            channel.unary_unary("/z4.Admin/CheckHealth")(b"", timeout=3)


def test_metrics_are_not_for_other_machines(secured: Secured) -> None:
    """Of the addresses of this machine, one stands for how others reach it."""
    ports = secured.peers[0].ports
    with socket.create_connection(("127.0.0.2", ports.service), timeout=5):
        pass
    with socket.create_connection(("127.0.0.1", ports.metrics), timeout=5):
        pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", ports.metrics), timeout=5)


def test_the_peer_port_wants_a_certificate_of_the_cluster(secured: Secured, tmp_path: Path) -> None:
    authority = (secured.certificates / "ca.crt").read_bytes()
    make_set(tmp_path / "foreign", ["peer1"], ["127.0.0.1"])
    foreign = tmp_path / "foreign"
    for credentials in (
        grpc.ssl_channel_credentials(authority),
        grpc.ssl_channel_credentials(
            authority, (foreign / "peer1.key").read_bytes(), (foreign / "peer1.crt").read_bytes()
        ),
    ):
        with (
            grpc.secure_channel(f"127.0.0.1:{secured.peers[0].ports.peer}", credentials) as channel,
            pytest.raises(grpc.RpcError),
        ):
            channel.unary_unary("/raftcore.Transport/Hello")(b"{}", timeout=3)


def test_sql_shows_a_user_what_is_granted_and_nothing_else(secured: Secured) -> None:
    with secured.sql("grafana", "seen", peer=1) as connection, connection.cursor() as cursor:
        cursor.execute("SET SESSION z4_consistency = 'linearizable'")
        query = "SELECT COUNT(*) FROM tasks WHERE namespace = %s AND deliver_at >= '2020-01-01'"
        cursor.execute(query, ("mail_out",))
        assert cursor.fetchone()[0] >= 0
        cursor.execute("SELECT name FROM namespaces")
        assert all(name.startswith("mail_") for (name,) in cursor.fetchall())
        for text in (
            query,
            "SELECT t.id FROM (SELECT 1) one LEFT JOIN tasks t "
            "ON t.namespace = %s AND t.deliver_at >= '2020-01-01'",
            "SELECT id FROM tasks WHERE namespace IN ('mail_out', %s) AND deliver_at >= '2020-01-01'",
            "SELECT id FROM tasks WHERE namespace = 'mail_out' AND deliver_at >= '2020-01-01' "
            "UNION SELECT id FROM tasks WHERE namespace = %s AND deliver_at >= '2020-01-01'",
        ):
            with pytest.raises(pymysql.err.OperationalError) as refused:
                cursor.execute(text, ("other",))
            assert refused.value.args[0] == 1142, text


def test_sql_shows_no_row_about_a_namespace_that_is_not_granted(secured: Secured) -> None:
    for namespace in ("other", "mail_out"):
        secured.call(0, "/z4.Collection/CreateTask", _create(namespace), ADMIN)
    start = pb.ConsumeRequest(
        start=pb.ConsumeStart(namespaces=["other", "mail_out"], consumer="everywhere"), credit=9
    )
    credentials = grpc.ssl_channel_credentials((secured.certificates / "ca.crt").read_bytes())
    token = (("authorization", f"Bearer {ADMIN}"),)
    with (
        grpc.secure_channel(secured.peers[0].service_address, credentials) as channel,
        Stream(channel, "/z4.Queue/Consume", metadata=token) as stream,
    ):
        stream.send(start)
        _until(lambda: len(stream.received) > 1, "tasks are delivered")
        everything: Counter[str] = Counter()
        for peer in range(3):
            with secured.sql("operator", "all", peer=peer) as connection:
                everything += _rows_about(connection, "other")
            with secured.sql("grafana", "seen", peer=peer) as connection:
                assert not _rows_about(connection, "other")
                assert {"consumers", "leases", "namespaces"} <= set(_rows_about(connection, "mail_out"))
        assert set(everything) == {"consumers", "leases", "metrics", "namespaces"}, "it was there to be seen"


def _rows_about(connection: pymysql.Connection, namespace: str) -> Counter[str]:
    """By small table that tells of namespaces: how many rows name this one."""
    found: Counter[str] = Counter()
    with connection.cursor() as cursor:
        cursor.execute("SET SESSION z4_consistency = 'linearizable'")
        cursor.execute("SHOW TABLES")
        tables = {name for (name,) in cursor.fetchall()} - {"tasks", "task_events", "members"}
        for table in sorted(tables):
            cursor.execute(f"SELECT * FROM {table}")  # noqa: S608 - a name that the server told
            found[table] = sum(
                any(namespace == value or f'"{namespace}"' in str(value) for value in row)
                for row in cursor.fetchall()
            )
    return +found


def test_sql_wants_tls_a_known_user_and_the_password(secured: Secured) -> None:
    for user, password, tls, code in (
        ("grafana", "seen", False, 3159),
        ("grafana", "wrong", True, 1045),
        ("nobody", "seen", True, 1045),
        ("mailer", "", True, 1045),
        ("root", "", True, 1045),
    ):
        with pytest.raises(pymysql.err.OperationalError) as refused:
            secured.sql(user, password, tls=tls)
        assert refused.value.args[0] == code, (user, tls)


def test_a_changed_password_is_taken_up_without_a_restart(secured: Secured) -> None:
    try:
        _access(secured.access, passwords="changed")

        def changed() -> bool:
            try:
                secured.sql("grafana", "changed").close()
            except pymysql.err.OperationalError:
                return False
            return True

        _until(changed, "the new password opens SQL")
        with pytest.raises(pymysql.err.OperationalError):
            secured.sql("grafana", "seen")
    finally:
        _access(secured.access)


def test_a_new_certificate_is_shown_without_a_restart(secured: Secured) -> None:
    files = [secured.certificates / f"peer2.{part}" for part in ("crt", "key")]
    former = [file.read_bytes() for file in files]
    assert (_shown_by_grpc(secured, 1), _shown_by_sql(secured, 1)) == ("peer2", "peer2")
    try:
        for file in files:
            fresh = file.with_suffix(".new")
            fresh.write_bytes((secured.certificates / f"peer3{file.suffix}").read_bytes())
            os.replace(fresh, file)
        _until(lambda: _shown_by_grpc(secured, 1) == "peer3", "gRPC shows the new certificate")
        _until(lambda: _shown_by_sql(secured, 1) == "peer3", "SQL shows the new certificate")
    finally:
        for file, content in zip(files, former, strict=True):
            file.write_bytes(content)


def _shown_by_grpc(secured: Secured, peer: int) -> str:
    context = ssl.create_default_context(cafile=secured.certificates / "ca.crt")
    context.set_alpn_protocols(["h2"])
    with (
        socket.create_connection(("127.0.0.1", secured.peers[peer].ports.service), timeout=5) as bare,
        context.wrap_socket(bare, server_hostname="127.0.0.1") as shown,
    ):
        return _common_name(shown)


def _shown_by_sql(secured: Secured, peer: int) -> str:
    with secured.sql("operator", "all", peer=peer) as connection:
        return _common_name(connection._sock)


def _common_name(connection: ssl.SSLSocket) -> str:
    certificate = connection.getpeercert()
    assert certificate is not None
    return dict(pair for (pair,) in certificate["subject"])["commonName"]
