"""The access file, the guard of gRPC calls, and the development certificates."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from grpc import StatusCode
from hypothesis import given
from hypothesis import strategies as st

from z4sql.access.book import PEER, AccessBook
from z4sql.access.certificates import make_set
from z4sql.access.file import (
    AccessFileError,
    password_hashes,
    password_text,
    read_directory,
    token_hash,
)
from z4sql.access.model import Grant, Role, User
from z4sql.access.tls import ServerTls, TlsFiles
from z4sql.api._pb import z4_pb2 as pb
from z4sql.api.guard import METHODS, Admitted, Guard
from z4sql.api.leadership import FORWARDED
from z4sql.api.parsing import subscription_of
from z4sql.api.status import CallError
from z4sql.cli import z4

TOKEN = "z4_" + "t" * 43
CONTENT = f"""
peer_token = "between peers"

[users.mailer]
roles = ["produce", "consume"]
namespaces = ["welcome_*", "billing"]
tokens = ["{token_hash(TOKEN).hex()}"]

[users.grafana]
roles = ["read"]
passwords = ["{password_text(password_hashes("secret"))}"]
connections_max = 3
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "access.toml"
    path.write_text(CONTENT)
    return path


def test_the_file_says_who_has_which_roles_where(file: Path) -> None:
    users = read_directory(file).users
    mailer = users["mailer"]
    assert mailer.may(Role.PRODUCE, "welcome_emails")
    assert mailer.may(Role.CONSUME, "billing")
    assert not mailer.may(Role.PRODUCE, "billing2")
    assert not mailer.may(Role.READ, "billing")
    assert users["grafana"].may(Role.READ, "anything")
    assert users["grafana"].connections_max == 3


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ('roles = ["reed"]', "users.x.roles: 'reed'"),
        ('roles = "read"', "users.x.roles: must be a list"),
        ('namespaces = ["a*b"]', "users.x.namespaces: 'a*b'"),
        ('passwords = ["secret"]', "users.x.passwords"),
        ('tokens = ["00"]', "users.x.tokens"),
        ("connections_max = -1", "users.x.connections_max"),
        ('rolls = ["read"]', "users.x.rolls: unknown key"),
    ],
)
def test_a_wrong_line_is_refused_by_its_name(tmp_path: Path, line: str, named: str) -> None:
    path = tmp_path / "access.toml"
    path.write_text(f"[users.x]\n{line}\n")
    with pytest.raises(AccessFileError, match=named.replace("*", r"\*")):
        read_directory(path)


def test_a_new_file_is_taken_up_and_a_broken_one_leaves_the_old_rights(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("z4sql.access.book._LOOK_AGAIN_S", 0.0)
    book = AccessBook(file)
    assert book.by_token(TOKEN) is not None
    _replace(file, "nonsense")
    assert book.by_token(TOKEN) is not None
    _replace(file, "[users.other]\n")
    assert book.by_token(TOKEN) is None
    assert book.by_name("other") is not None


def _replace(path: Path, content: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(content)
    os.replace(fresh, path)


def _call(guard: Guard, path: str, data: bytes = b"", token: str = TOKEN, **metadata: str) -> None:
    said = [*metadata.items()]
    if token:
        said.append(("authorization", f"Bearer {token}"))
    admitted = guard.admit(path, said)
    if admitted is not None:
        admitted.check(data)


_CREATE = "/z4.Collection/CreateTask"


@pytest.mark.parametrize(
    ("path", "data", "token", "code"),
    [
        (_CREATE, pb.CreateTaskRequest(namespace="welcome_emails"), TOKEN, None),
        (_CREATE, pb.CreateTaskRequest(namespace="other"), TOKEN, StatusCode.PERMISSION_DENIED),
        (_CREATE, pb.CreateTaskRequest(namespace="billing"), "", StatusCode.UNAUTHENTICATED),
        (_CREATE, pb.CreateTaskRequest(namespace="billing"), "guess", StatusCode.UNAUTHENTICATED),
        (
            "/z4.Collection/CreateTasks",
            pb.CreateTasksRequest(
                tasks=[pb.CreateTaskRequest(namespace=name) for name in ("billing", "other")]
            ),
            TOKEN,
            StatusCode.PERMISSION_DENIED,
        ),
        (
            "/z4.Queue/Consume",
            pb.ConsumeRequest(start=pb.ConsumeStart(namespaces=["billing", "other"])),
            TOKEN,
            StatusCode.PERMISSION_DENIED,
        ),
        ("/z4.Queue/Consume", pb.ConsumeRequest(credit=5), TOKEN, None),
        (
            "/z4.Collection/GetTask",
            pb.GetTaskRequest(namespace="billing"),
            TOKEN,
            StatusCode.PERMISSION_DENIED,
        ),
        (
            "/z4.Admin/RemoveClusterMember",
            pb.RemoveClusterMemberRequest(),
            TOKEN,
            StatusCode.PERMISSION_DENIED,
        ),
        (
            "/z4.Collection/ChangeTasks",
            pb.ChangeTasksRequest(namespace="billing"),
            TOKEN,
            StatusCode.PERMISSION_DENIED,
        ),
        ("/z4.Admin/SomethingNew", pb.Status(), TOKEN, StatusCode.PERMISSION_DENIED),
        ("/grpc.health.v1.Health/Check", pb.Status(), "", None),
        ("/z4.Admin/RemoveClusterMember", pb.RemoveClusterMemberRequest(), "between peers", None),
    ],
)
def test_calls_need_a_token_a_role_and_the_namespace(
    file: Path, path: str, data: pb.CreateTaskRequest, token: str, code: StatusCode | None
) -> None:
    guard = Guard(AccessBook(file))
    if code is None:
        _call(guard, path, data.SerializeToString(), token)
        return
    with pytest.raises(CallError) as refused:
        _call(guard, path, data.SerializeToString(), token)
    assert refused.value.code is code


def test_a_reader_of_some_namespaces_sees_who_consumes_those_only(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    hashed = token_hash(TOKEN).hex()
    path.write_text(f'[users.some]\nroles = ["read"]\nnamespaces = ["billing"]\ntokens = ["{hashed}"]\n')
    guard = Guard(AccessBook(path))

    def ask(namespace: str) -> None:
        request = pb.GetRowsRequest(table="consumers", namespace=namespace)
        _call(guard, "/z4.Admin/GetRows", request.SerializeToString(), TOKEN)

    ask("billing")
    for namespace in ("other", ""):
        with pytest.raises(CallError) as refused:
            ask(namespace)
        assert refused.value.code is StatusCode.PERMISSION_DENIED


_STREAM = "/z4.Collection/GetTaskStream"


def test_no_form_of_a_subscription_gets_past_the_guard(file: Path) -> None:
    """What the method reads of a first message is what the guard looked at, whatever else is in it."""
    guard = Guard(AccessBook(file))
    plain = pb.StreamTasksRequest(request_id="r", namespace="other").SerializeToString()
    garbage = b"\x7a\x01\xff"
    starts = [plain, plain + garbage, *(_message(1, inner) for inner in (plain, plain + garbage))]
    for start in starts:
        with pytest.raises(CallError) as refused:
            _call(guard, _STREAM, start)
        assert refused.value.code is StatusCode.PERMISSION_DENIED
    acknowledgement = pb.PullRequest(ack=pb.AckReference(task_id="x")).SerializeToString()
    for nothing in (b"", b"\xff", garbage, acknowledgement):
        with pytest.raises(CallError):
            _call(guard, _STREAM, nothing)


def test_acknowledgements_of_a_subscription_need_no_look(file: Path) -> None:
    guard = Guard(AccessBook(file))
    admitted = guard.admit(_STREAM, [("authorization", f"Bearer {TOKEN}")])
    assert admitted is not None
    admitted.check(pb.PullRequest(start_req=pb.StreamTasksRequest(namespace="billing")).SerializeToString())
    admitted.check(
        pb.PullRequest(ack=pb.AckReference(namespace="billing", task_id="0" * 26)).SerializeToString()
    )


_ABOUT_ALL = {f"/z4.Admin/{name}" for name in ("GetClusterInfo", "CheckState", "ListNamespaces")}


@pytest.mark.parametrize("path", sorted(METHODS.keys() - _ABOUT_ALL))
def test_what_cannot_be_read_is_let_in_nowhere(tmp_path: Path, path: str) -> None:
    """The guard refuses it: no method may see what nobody looked at."""
    file = tmp_path / "access.toml"
    _replace(file, CONTENT.replace('"produce", "consume"', '"read", "produce", "consume"'))
    for data in (b"\xff", b"\x0a\x05\xff", b"\x12\xff"):
        with pytest.raises(CallError) as refused:
            _call(Guard(AccessBook(file)), path, data)
        assert refused.value.code is StatusCode.INVALID_ARGUMENT


def test_rights_that_are_taken_away_end_what_goes_on(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("z4sql.access.book._LOOK_AGAIN_S", 0.0)
    guard = Guard(AccessBook(file))
    said = [("authorization", f"Bearer {TOKEN}")]
    consuming = guard.admit("/z4.Queue/Consume", said)
    pulling = guard.admit("/z4.Queue/Pull", [*said, ("queue", "billing")])
    passed_on = guard.admit(
        "/z4.Queue/Consume", [(FORWARDED, "1"), ("authorization", "Bearer between peers")]
    )
    assert consuming is not None and pulling is not None and passed_on is not None
    start = pb.ConsumeStart(namespaces=["billing", "welcome_emails"])
    consuming.check(pb.ConsumeRequest(start=start).SerializeToString())

    def after(content: str) -> list[str]:
        """How each of them ends when the file is this."""
        version = guard.version
        _replace(file, content)
        assert guard.version != version
        codes = []
        for admitted in (consuming, pulling, passed_on):
            try:
                admitted.check_again()
                codes.append("OK")
            except CallError as refusal:
                codes.append(refusal.code.name)
        return codes

    assert after(CONTENT + "\n") == ["OK", "OK", "OK"]
    assert after(CONTENT.replace('"produce", "consume"', "")) == ["PERMISSION_DENIED"] * 2 + ["OK"]
    assert after(CONTENT.replace('"welcome_*", ', "")) == ["PERMISSION_DENIED", "OK", "OK"]
    assert after(CONTENT.replace(token_hash(TOKEN).hex(), "0" * 64)) == ["UNAUTHENTICATED"] * 2 + ["OK"]
    assert after(CONTENT.replace("between peers", "another")) == ["OK", "OK", "UNAVAILABLE"]


@given(st.binary(max_size=40) | st.binary(max_size=30).map(lambda inner: _message(1, inner)))
def test_what_a_subscription_names_is_what_the_guard_sees(data: bytes) -> None:
    try:
        namespace, _ = subscription_of(data)
    except CallError:
        return
    seen: list[str] = []

    class Asked(User):
        def may(self, role: Role, namespace: str) -> bool:
            seen.append(namespace)
            return True

    user = Asked("u", frozenset(Role))
    Admitted(user, METHODS[_STREAM], lambda: user).check(data)
    assert seen == [namespace]


def _message(number: int, inner: bytes) -> bytes:
    return bytes((number << 3 | 2, len(inner))) + inner


def test_only_peers_may_say_that_a_call_was_passed_on(file: Path) -> None:
    guard = Guard(AccessBook(file))
    with pytest.raises(CallError) as refused:
        guard.admit(_CREATE, [(FORWARDED, "1"), ("authorization", f"Bearer {TOKEN}")])
    assert refused.value.code is StatusCode.PERMISSION_DENIED
    assert guard.admit(_CREATE, [(FORWARDED, "1"), ("authorization", "Bearer between peers")])


def test_a_namespace_in_the_metadata_is_looked_at_too(file: Path) -> None:
    guard = Guard(AccessBook(file))
    _call(guard, "/z4.Queue/Pull", queue="billing")
    with pytest.raises(CallError):
        _call(guard, "/z4.Queue/Pull", queue="other")


def test_an_empty_peer_token_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "access.toml"
    path.write_text('[users.x]\nroles = ["read"]\n')
    assert AccessBook(path).by_token("") is None


def test_a_prefix_grants_what_begins_with_it_and_nothing_else() -> None:
    grant = Grant(("a_*",))
    assert [grant.allows(name) for name in ("a_", "a_b", "a", "b_a_")] == [True, True, False, False]
    assert not PEER.restricted


def test_z4_access_prints_a_table_that_the_file_takes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("s3cret\n"))
    arguments = ["access", "who", "--role", "read", "--namespace", "a_*", "--password", "--token"]
    assert z4.main(arguments) == 0
    said = capsys.readouterr()
    path = tmp_path / "access.toml"
    path.write_text(said.out)
    token = said.err.strip().rsplit(" ", 1)[1]
    user = AccessBook(path).by_token(token)
    assert user is not None
    assert user.passwords == (password_hashes("s3cret"),)
    assert "s3cret" not in said.out + said.err
    assert token not in said.out


def test_certificates_are_made_once_and_load(tmp_path: Path) -> None:
    written = make_set(tmp_path / "c", ["peer1"], ["localhost", "127.0.0.1"])
    assert [path.name for path in written] == ["ca.crt", "ca.key", "peer1.crt", "peer1.key"]
    assert (tmp_path / "c" / "peer1.key").stat().st_mode & 0o077 == 0
    assert z4.main(["certs", str(tmp_path / "c")]) == 1
    files = TlsFiles(tmp_path / "c" / "peer1.crt", tmp_path / "c" / "peer1.key", tmp_path / "c" / "ca.crt")
    tls = ServerTls(files)
    assert not tls.refresh()
    make_set(tmp_path / "d", ["peer1"], ["localhost"])
    os.replace(tmp_path / "d" / "peer1.crt", files.certificate)
    with pytest.raises(ssl.SSLError):
        tls.refresh()
    os.replace(tmp_path / "d" / "peer1.key", files.key)
    assert tls.refresh()
