"""Every command of z4t against a real peer: what it prints, what it does, how it exits."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from z4sql.cli import z4t
from z4sql.client import Client
from z4sql.testing import TestCluster

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def cluster() -> Iterator[TestCluster]:
    with TestCluster() as started:
        yield started


@pytest.fixture
def client(cluster: TestCluster) -> Client:
    return cluster.client


@pytest.fixture
def run(cluster: TestCluster, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("Z4_ENDPOINT", cluster.address)
    monkeypatch.setattr(sys, "stdin", io.StringIO())

    def run_it(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = z4t.main(list(arguments))
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run_it


def process(cluster: TestCluster, *arguments: str, stdin: int | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "z4sql.cli.z4t", "-t", cluster.address, *arguments],
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def states(client: Client, namespace: str) -> list[str]:
    return [task.state for task in client.list(namespace)]


def test_a_task_is_created_read_and_changed(run: Run, client: Client) -> None:
    code, out, err = run(
        "task", "create", "made", "--in", "3h", "--payload", "hello", "-m", "user=42", "-m", "a=b=c"
    )
    assert (code, err) == (0, "")
    task_id = out.strip()
    task = client.get("made", task_id)
    assert (task.payload, task.metadata) == (b"hello", {"user": "42", "a": "b=c"})
    assert (task.deliver_at - task.created_at).total_seconds() == 3 * 3600

    code, out, _ = run("task", "get", "made", task_id, "-o", "json")
    shown = json.loads(out)
    assert (shown["id"], shown["state"], shown["payload"]) == (task_id, "scheduled", "hello")
    assert [event["kind"] for event in shown["events"]] == ["created"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", shown["deliver_at"])

    code, out, _ = run("-ns", "made", "task", "get", task_id)
    assert code == 0 and "metadata         a=b=c, user=42" in out and "created" in out
    code, out, _ = run("task", "reschedule", f"made/{task_id}", "--at", "2099-01-01 10:00")
    assert code == 0 and out.startswith(f"{task_id} scheduled, due 2099-01-01T10:00:00Z (in ")
    code, out, _ = run("task", "run", "made", task_id, "-o", "json")
    assert code == 0 and json.loads(out)["next_attempt_at"] < "2099"
    assert run("task", "cancel", "made", task_id)[:2] == (0, f"{task_id} canceled\n")
    code, out, err = run("task", "run", "made", task_id)
    assert (code, out) == (5, "") and "canceled" in err and err.count("\n") == 1
    assert run("dead", "redrive", "made", task_id)[0] == 0
    assert run("task", "remove", "made", task_id)[:2] == (0, f"{task_id} removed\n")
    code, out, err = run("task", "get", "made", task_id)
    assert (code, out) == (3, "") and err.startswith("z4t: task not found") and err.count("\n") == 1


def test_a_payload_may_come_from_a_file(run: Run, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "payload"
    path.write_bytes(b"\x00\xff")
    _, out, _ = run("task", "create", "files", "--payload-file", str(path), "-o", "json")
    task_id = json.loads(out)["id"]
    assert client.get("files", task_id).payload == b"\x00\xff"
    assert json.loads(run("task", "get", "files", task_id, "-o", "json")[1])["payload_base64"] == "AP8="
    code, _, err = run("task", "create", "files", "--payload-file", str(tmp_path / "none"))
    assert code == 2 and "No such file" in err


def test_the_same_request_id_gives_the_same_task(run: Run) -> None:
    first = run("task", "create", "idempotent", "--request-id", "r1", "--at", "2099-01-01")
    assert run("task", "create", "idempotent", "--request-id", "r1", "--at", "2099-01-01") == first
    assert run("task", "create", "idempotent", "--request-id", "r1", "--at", "2098-01-01")[0] == 5


def test_lists_are_bounded_filtered_and_stable(run: Run, client: Client) -> None:
    ids = [client.create("listed", payload=b"x") for _ in range(5)]
    client.cancel("listed", ids[4])
    code, out, err = run("task", "list", "listed", "--limit", "3")
    assert code == 0 and [line.split()[0] for line in out.splitlines()] == ["ID", *ids[:3]]
    assert "only the first 3" in err
    code, out, err = run("task", "list", "listed", "-s", "canceled", "-o", "json", "--payload")
    assert [json.loads(line)["id"] for line in out.splitlines()] == [ids[4]] and err == ""
    assert json.loads(out)["payload"] == "x"
    assert len(run("task", "list", "listed", "--from=-1h", "--to", "+1h", "--all")[1].splitlines()) == 6
    code, out, err = run("task", "list", "listed", "--to=-1h")
    assert (code, out) == (0, "") and "no tasks" in err


def test_explain_says_why_from_start_to_end(run: Run, client: Client) -> None:
    task_id = client.create("why", delay=timedelta(hours=1))
    out = run("task", "explain", "why", task_id)[1]
    assert "It is not due yet: it will be due at" in out and "No consumer of 'why' is connected now" in out
    run("task", "run", "why", task_id)
    client.namespaces.pause("why")
    assert "'why' is paused" in run("task", "explain", "why", task_id)[1]
    client.namespaces.resume("why")
    run("task", "reschedule", "why", task_id, "--at=-1m")
    assert "no consumer of 'why' is connected." in run("task", "explain", "why", task_id)[1]
    client.namespaces.set("why", attempts_max=2, backoff_min_ms=0, backoff_max_ms=0)
    with client.consume("why", name="worker-7") as deliveries:
        coming = iter(deliveries)
        first = next(coming)
        assert "leased by 'worker-7' until" in run("task", "explain", "why", task_id)[1]
        (connected,) = client.namespaces.consumers("why")
        assert (connected.name, connected.leases) == ("worker-7", 1)
        assert client.namespaces.consumers("why-not") == []
        first.nack("no route")
        next(coming).nack("no route to host")
    out = run("task", "explain", "why", task_id)[1]
    assert "its attempts are used up (2 of 2)" in out and "The last error: no route to host" in out
    assert [line.split()[1:] for line in out.splitlines() if "dead" in line.split()]
    explained = json.loads(run("task", "explain", "why", task_id, "-o", "json")[1])
    assert explained["task"]["state"] == "dead" and explained["explanation"][0].startswith("It is dead")
    assert task_id in run("dead", "list", "why")[1]
    assert run("dead", "redrive", "why", "--all", "--dry-run")[1] == "1 task would be redriven\n"
    code, _, err = run("dead", "redrive", "why", "--all")
    assert code == 2 and "--yes" in err and states(client, "why") == ["dead"]
    assert run("dead", "redrive", "why", "--all", "--yes")[1] == "1 task was redriven\n"
    assert states(client, "why") == ["scheduled"]


def test_namespaces_are_set_paused_and_shown(run: Run, client: Client) -> None:
    code, _, err = run("namespace", "show", "settings")
    assert code == 3 and "not found" in err
    code, out, _ = run(
        *(
            "namespace",
            "set",
            "settings",
            "--attempts-max",
            "7",
            "--ack-deadline",
            "90s",
            "--retention",
            "7d",
        ),
        *("--backoff-min", "250ms", "--backoff-max", "1m", "--backoff-multiplier", "1.5", "-o", "json"),
    )
    shown = json.loads(out)
    assert (shown["attempts_max"], shown["ack_deadline_seconds"], shown["retention_seconds"]) == (
        7,
        90,
        604800,
    )
    assert (shown["backoff_min_ms"], shown["backoff_max_ms"], shown["backoff_multiplier"]) == (
        250,
        60000,
        1.5,
    )
    code, _, err = run("namespace", "set", "settings", "--ack-deadline", "9999d")
    assert code == 2 and "ack_deadline_seconds" in err
    assert run("namespace", "set", "settings")[0] == 2
    assert "until" in run("namespace", "pause", "settings", "--for", "1h")[1]
    assert client.namespaces.get("settings").paused_until is not None
    run("namespace", "pause", "settings")
    assert client.namespaces.get("settings").paused_until is None
    run("namespace", "resume", "-ns", "settings")
    assert not client.namespaces.get("settings").paused
    assert "settings" in run("namespace", "list")[1]
    names = [json.loads(line)["name"] for line in run("namespace", "list", "-o", "json")[1].splitlines()]
    assert "settings" in names
    assert run("namespace", "pause", "settings", "--until", "2020-01-01")[0] == 2


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("namespace", "set", "wide", "--attempts-max", "99999999999"), "attempts_max"),
        (("namespace", "set", "wide", "--retention", "99999999999"), "retention_seconds"),
        (("consume", "wide", "--lease", "999d"), "lease"),
    ],
)
def test_numbers_beyond_every_limit_are_named(run: Run, words: tuple[str, ...], field: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "") and err.startswith(f"z4t: {field}: must")


def test_purging_asks_or_must_be_told(run: Run, client: Client) -> None:
    for _ in range(3):
        client.create("purged")
    assert run("namespace", "purge", "purged", "--dry-run")[1] == "3 tasks would be purged\n"
    code, out, err = run("namespace", "purge", "purged")
    assert (
        (code, out) == (2, "") and "purge 3 tasks of 'purged'?" in err and len(states(client, "purged")) == 3
    )
    assert run("namespace", "purge", "purged", "-s", "dead", "--yes")[1] == "0 tasks were purged\n"
    assert json.loads(run("namespace", "purge", "purged", "--yes", "-o", "json")[1])["changed"] == 3
    assert states(client, "purged") == []


def test_lines_become_tasks_and_bad_ones_are_named(cluster: TestCluster, client: Client) -> None:
    lines = [
        '{"payload":"a"}',
        "",
        "oops",
        '{"payload":{"x":1},"delay":"3h","metadata":{"k":"v"}}',
        '{"namespace":"produced-too","deliver_at":"2099-01-01 10:00","payload_base64":"AP8="}',
        json.dumps({"payload": "x" * ((1 << 20) + 1)}),
        '{"delay":"3h","deliver_at":"2099-01-01 10:00"}',
        '{"delay":"3h","tts_seconds":1}',
        *('{"payload":"many"}' for _ in range(1500)),
    ]
    producing = process(cluster, "-ns", "produced", "produce", "-", stdin=subprocess.PIPE)
    out, err = producing.communicate("\n".join(lines), timeout=60)
    assert (producing.returncode, out) == (1, "1503 tasks created, 4 failed\n")
    failed = {line.split(": ", 2)[1]: line.split(": ", 2)[2] for line in err.splitlines()}
    assert sorted(failed) == ["line 3", "line 6", "line 7", "line 8"]
    assert failed["line 6"].startswith("payload") and "not both" in failed["line 7"] + failed["line 8"]
    assert len(states(client, "produced")) == 1502
    assert [task.payload for task in client.list("produced-too", with_payload=True)] == [b"\x00\xff"]


def test_producing_twice_with_request_ids_creates_once(run: Run, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "tasks.jsonl"
    path.write_text('{"deliver_at":"2099-01-01"}\n' * 3)
    arguments = ("produce", str(path), "-ns", "repeated", "--request-ids", "import-1", "-o", "json")
    first = run(*arguments)
    assert first[0] == 0 and [json.loads(line)["line"] for line in first[1].splitlines()] == [1, 2, 3]
    assert run(*arguments) == first and len(states(client, "repeated")) == 3
    assert run("produce", str(path), "-ns", "dry", "--dry-run")[1] == "3 tasks would be created\n"
    assert states(client, "dry") == []
    assert run("produce", str(tmp_path / "none"))[0] == 2


@pytest.mark.parametrize(
    ("flag", "names"), [("-ns", ("namespace", "deliver_at")), ("-q", ("queue", "schedule_time"))]
)
def test_the_spellings_of_the_first_generations_print_and_acknowledge(
    cluster: TestCluster, client: Client, flag: str, names: tuple[str, str]
) -> None:
    namespace = f"old{flag}"
    ids = [client.create(namespace, payload=b"hi", metadata={"k": "v"}) for _ in range(2)]
    consuming = process(cluster, flag, namespace, "consume")
    assert consuming.stdout is not None
    lines = [consuming.stdout.readline() for _ in range(2 * 16)]
    printed = [json.loads("".join(lines[at : at + 16])) for at in (0, 16)]
    assert lines[:2] == ["{\n", f'  "id": "{ids[0]}",\n'] and lines[15] == "}\n"
    keys = ["id", names[0], "metadata", "payload", names[1], "created_at"]
    assert [list(one) for one in printed] == [keys, keys]
    assert printed[0]["payload"] == "aGk=" and set(printed[0][names[1]]) == {"seconds", "nanos"}
    deadline = time.monotonic() + 10
    while states(client, namespace) != ["done", "done"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    consuming.send_signal(signal.SIGTERM)
    assert consuming.communicate(timeout=10) == ("", "") and consuming.returncode == 0


def test_programs_acknowledge_by_their_exit_code(
    cluster: TestCluster, client: Client, tmp_path: Path
) -> None:
    client.namespaces.set("programs", attempts_max=1)
    payloads = (b"0", b"3", b"65", b"9")
    ids = {payload: client.create("programs", payload=payload, metadata={"k": "é"}) for payload in payloads}
    script = tmp_path / "handle.sh"
    script.write_text(
        "code=$(cat)\n"
        f'echo "$Z4_TASK_ID $Z4_TASK_NAMESPACE $Z4_TASK_ATTEMPT $Z4_TASK_METADATA" >> {tmp_path}/log\n'
        'echo "it said $code" >&2\nif [ "$code" = 9 ]; then kill -9 $$; fi\nexit "$code"\n'
    )
    consuming = process(
        cluster,
        *("consume", "programs", "--exec", f"exec sh {script}", "--concurrency", "3", "--dead-on", "65"),
        *("--count", "4"),
    )
    _, err = consuming.communicate(timeout=30)
    assert consuming.returncode == 0, err
    tasks = {payload: client.get("programs", task_id) for payload, task_id in ids.items()}
    assert {payload: task.state for payload, task in tasks.items()} == {
        b"0": "done", b"3": "dead", b"65": "dead", b"9": "dead",
    }  # fmt: skip
    assert tasks[b"3"].last_error == "exit code 3: it said 3"
    assert tasks[b"9"].last_error == "ended by signal 9: it said 9"
    log = sorted((tmp_path / "log").read_text().splitlines())
    assert log == sorted(f'{task_id} programs 1 {{"k": "é"}}' for task_id in ids.values())


def test_a_program_that_outlasts_its_lease_keeps_its_task(cluster: TestCluster, client: Client) -> None:
    task_id = client.create("slow")
    consuming = process(cluster, "consume", "slow", "--exec", "sleep 1.2", "--lease", "300ms", "--count", "1")
    assert consuming.communicate(timeout=20) == ("", "") and consuming.returncode == 0
    task = client.get("slow", task_id)
    assert (task.state, task.attempts) == ("done", 1)


def test_a_program_whose_task_was_canceled_is_ended_and_the_next_one_runs(
    cluster: TestCluster, client: Client, tmp_path: Path
) -> None:
    first = client.create("ended", payload=b"60")
    second = client.create("ended", payload=b"0")
    program = f"echo $$ > {tmp_path}/$Z4_TASK_ID; sleep $(cat)"
    consuming = process(cluster, "consume", "ended", "--exec", program, "--lease", "300ms", "--count", "2")
    deadline = time.monotonic() + 20
    while not (tmp_path / first).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    client.cancel("ended", first)
    consuming.communicate(timeout=20)
    assert consuming.returncode == 0
    assert client.get("ended", second).state == "done"
    assert not Path("/proc", (tmp_path / first).read_text().strip()).exists()


def test_looking_does_not_acknowledge(run: Run, client: Client) -> None:
    client.namespaces.set("looked", attempts_max=1)
    task_id = client.create("looked")
    for _ in range(2):
        code, out, _ = run("consume", "looked", "--count", "1", "--no-ack", "-o", "json")
        assert code == 0 and json.loads(out)["id"] == task_id
        task = client.get("looked", task_id, linearizable=True)
        assert (task.state, task.attempts, task.last_error) == ("scheduled", 0, "")


def test_looking_shows_the_same_task_again_only_after_a_pause(cluster: TestCluster, client: Client) -> None:
    client.create("looked-long")
    begun_s = time.monotonic()
    looking = process(cluster, "consume", "looked-long", "--count", "3", "--no-ack", "-o", "json")
    out, _ = looking.communicate(timeout=60)
    assert len(out.splitlines()) == 3 and len({json.loads(line)["id"] for line in out.splitlines()}) == 1
    assert time.monotonic() - begun_s > 1.9


def test_a_reader_that_goes_away_ends_the_command_quietly(cluster: TestCluster, client: Client) -> None:
    for _ in range(200):
        client.create("head", payload=b"x" * 2000)
    consuming = process(cluster, "task", "list", "head", "-o", "json", "--all", "--payload")
    assert consuming.stdout is not None and consuming.stderr is not None
    consuming.stdout.readline()
    consuming.stdout.close()
    assert consuming.stderr.read() == "" and consuming.wait(10) == 1


def test_no_attempt_is_used_up_when_nobody_reads_what_programs_print(
    cluster: TestCluster, client: Client
) -> None:
    for _ in range(3):
        client.create("unread", payload=b"x")
    consuming = process(cluster, "consume", "unread", "--exec", "cat")
    assert consuming.stdout is not None and consuming.stderr is not None
    consuming.stdout.read(1)
    consuming.stdout.close()
    assert consuming.wait(20) == 1 and consuming.stderr.read() == ""
    assert sorted((task.state, task.attempts) for task in client.list("unread")) == [
        ("done", 1),
        ("scheduled", 0),
        ("scheduled", 0),
    ]


def test_a_producer_whose_reader_goes_away_ends_quietly(cluster: TestCluster) -> None:
    producing = process(cluster, "produce", "-", "-ns", "gone", "-o", "json", stdin=subprocess.PIPE)
    assert producing.stdin is not None and producing.stdout is not None and producing.stderr is not None
    producing.stdout.close()
    producing.stdin.write("{}\n")
    producing.stdin.flush()
    producing.stdin.close()
    assert producing.stderr.read() == "" and producing.wait(20) == 1


def test_an_interrupted_producer_tells_what_it_created(cluster: TestCluster, client: Client) -> None:
    producing = process(cluster, "produce", "-", "-ns", "half", stdin=subprocess.PIPE)
    assert producing.stdin is not None and producing.stderr is not None
    producing.stdin.write("{}\n{}\n")
    producing.stdin.flush()
    deadline = time.monotonic() + 10
    while len(states(client, "half")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    producing.send_signal(signal.SIGINT)
    assert producing.wait(10) == 130
    assert re.fullmatch(r"z4t: interrupted: [12] tasks? created for certain\n", producing.stderr.read())


def test_the_benchmark_misses_nothing(run: Run, client: Client) -> None:
    code, out, _ = run("bench", "--count", "500", "--delay", "300ms", "--rate", "2000", "-o", "json")
    result = json.loads(out)
    assert code == 0
    assert (result["delivered"], result["early"], result["missing"], result["again"]) == (500, 0, 0, 0)
    assert result["lateness_ms"]["p50"] >= 0
    assert "lateness" in run("bench", "--count", "50", "--delay", "50ms")[1]
    assert states(client, "z4t-bench") == []


def test_the_benchmark_touches_no_tasks_of_others(run: Run, client: Client) -> None:
    client.create("production")
    code, out, err = run("bench", "-ns", "production", "--count", "10")
    assert (code, out) == (1, "") and "'production' holds tasks" in err
    assert states(client, "production") == ["scheduled"]


def test_members_are_shown_and_wrong_usage_is_refused(run: Run, cluster: TestCluster) -> None:
    shown = json.loads(run("info")[1])
    assert [member["id"] for member in shown["members"]] == ["peer1"] and shown["leader_address"]
    assert run("health")[:2] == (0, "healthy\n")
    for wrong in (
        ["task"],
        ["task", "get"],
        ["task", "get", "only-a-namespace"],
        ["task", "create"],
        ["task", "create", "x", "--at", "soon"],
        ["task", "create", "x", "-m", "novalue"],
        ["task", "list", "x", "-s", "odd"],
        ["dead", "redrive"],
        ["consume"],
        ["consume", "x", "--dead-on", "3"],
        ["-t", "nowhere", "namespace", "list"],
    ):
        code, out, err = run(*wrong)
        assert (code, out) == (2, ""), wrong
        assert "Traceback" not in err and err
        assert err.count("\n") == 1 or wrong == ["task"], err


def test_an_unreachable_cluster_is_one_line_and_exit_4(run: Run) -> None:
    started = time.monotonic()
    for command in (["task", "list", "x"], ["consume", "x"], ["namespace", "list"], ["info"]):
        code, out, err = run("-t", "127.0.0.1:1", *command)
        assert (
            (code, out) == (4, "")
            and err.startswith("z4t: cannot reach 127.0.0.1:1")
            and err.count("\n") == 1
        )
    assert time.monotonic() - started < 20


def test_another_port_than_the_service_is_named_as_such(run: Run, cluster: TestCluster) -> None:
    for command in (["info"], ["check"], ["health"]):
        code, out, err = run("-t", f"127.0.0.1:{cluster.sql_port}", *command)
        assert (code, out) == (4, "") and "is this its service port" in err and err.count("\n") == 1
    for wrong in ("nowhere", ",", "localhost:0", "localhost:65536", ":6355"):
        code, out, err = run("-t", wrong, "info")
        assert (code, out) == (2, "") and err.startswith("z4t: -t: ") and "HOST:PORT" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["task", "creat"], "z4t task: 'creat' is no command, did you mean 'create'; see z4t task --help"),
        (["consume", "--cuont", "3"], "'--cuont' is no flag, did you mean '--count'"),
        (["info", "extra"], "one word too many: 'extra'"),
        (["task", "create", "x", "--at", "soon"], "z4t task create: --at: 'soon' is no time: write"),
        (["task", "create", "x", "--in", "-5s"], "--in: '-5s' is no duration"),
        (["task", "list", "x", "--limit"], "--limit: needs a value"),
        (["namespace", "pause", "x", "--for", "0s"], "--for: must end in the future"),
        (["task", "create", "x", "--expire", "-1h"], "--expire: must lie in the future"),
        (["task", "list", "x", "--limit", "9" * 20], "is no number from 1 to 1000000000000000"),
        (["dead", "redrive", "x"], "say NAMESPACE --all"),
        (["bench", "--payload-bytes", "-5"], "--payload-bytes: '-5' is no number from 1"),
    ],
)
def test_a_wrong_word_is_one_line_with_the_remedy(run: Run, words: list[str], said: str) -> None:
    code, out, err = run(*words)
    assert (code, out) == (2, "") and said in err and err.count("\n") == 1


def test_times_before_now_need_no_equals_sign(run: Run, client: Client) -> None:
    client.create("minus")
    assert run("task", "list", "minus", "--from", "-1h")[1].count("\n") == 2


def test_what_is_printed_is_utf_8_whatever_the_language_of_the_terminal(
    cluster: TestCluster, client: Client
) -> None:
    client.create("bücher")
    done = subprocess.run(
        [sys.executable, "-m", "z4sql.cli.z4t", "-t", cluster.address, "namespace", "list", "-o", "json"],
        env=os.environ | {"PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        timeout=30,
    )
    assert done.returncode == 0 and '"name":"bücher"'.encode() in done.stdout, done.stderr


def test_a_namespace_that_is_not_there_is_never_taken_for_an_empty_one(run: Run, client: Client) -> None:
    for command in (
        ["task", "list", "mispelt"],
        ["task", "list", "mispelt", "-o", "json"],
        ["dead", "list", "mispelt"],
        ["dead", "redrive", "mispelt", "--all", "--yes"],
        ["namespace", "purge", "mispelt", "--yes"],
        ["namespace", "resume", "mispelt"],
    ):
        code, out, err = run(*command)
        assert (code, out) == (3, "") and err.startswith("z4t: namespace not found: 'mispelt'"), command
    code, _, err = run("namespace", "pause", "mispelt", "--for", "1h")
    assert (code, err) == (0, "z4t: 'mispelt' is a new namespace\n")
    code, _, err = run("namespace", "set", "mispelt", "--attempts-max", "5")
    assert (code, err) == (0, "")


def test_one_bad_id_of_several_is_named_and_the_others_are_changed(run: Run, client: Client) -> None:
    first, second = client.create("several"), client.create("several")
    client.cancel("several", second)
    code, out, err = run("task", "cancel", "several", "nonsense", second, first)
    assert (code, out) == (1, f"{first} canceled\n")
    assert [line.split(": ")[1] for line in err.splitlines()] == ["nonsense", second]


def test_the_list_tells_when_a_task_comes_that_was_moved_from_its_time(run: Run, client: Client) -> None:
    task_id = client.create("moved", delay=timedelta(hours=2))
    assert "in 2 h  " in run("task", "list", "moved")[1]
    client.run_now("moved", task_id)
    assert "next attempt " in run("task", "list", "moved")[1]


def test_help_waits_for_no_library() -> None:
    code = (
        "import sys; from z4sql.cli.z4t import make_parser; make_parser().format_help();"
        "print([m for m in ('grpc', 'google.protobuf', 'asyncio', 'z4sql.client') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
    assert done.stdout == "[]\n", done.stderr


def test_a_consumer_says_that_its_namespace_is_not_there_yet(cluster: TestCluster, client: Client) -> None:
    consuming = process(cluster, "consume", "later", "--count", "1")
    assert consuming.stderr is not None
    assert consuming.stderr.readline() == "z4t: 'later' is a new namespace: waiting for its first task\n"
    client.create("later")
    assert consuming.communicate(timeout=20)[1] == "" and consuming.returncode == 0


def test_a_second_signal_does_not_wait_for_a_program(cluster: TestCluster, client: Client) -> None:
    client.create("hurry")
    consuming = process(cluster, "consume", "hurry", "--exec", "echo begun; sleep 60")
    assert consuming.stdout is not None and consuming.stdout.readline() == "begun\n"
    started = time.monotonic()
    consuming.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert consuming.poll() is None
    consuming.send_signal(signal.SIGINT)
    consuming.communicate(timeout=10)
    assert consuming.returncode == 130 and time.monotonic() - started < 10
    assert [task.state for task in client.list("hurry")] == ["scheduled"]


def test_an_interrupted_consumer_exits_130(cluster: TestCluster, client: Client) -> None:
    client.create("interrupted")
    consuming = process(cluster, "consume", "interrupted")
    assert consuming.stdout is not None and consuming.stdout.readline() == "{\n"
    consuming.send_signal(signal.SIGINT)
    consuming.communicate(timeout=10)
    assert consuming.returncode == 130
    assert states(client, "interrupted") == ["done"]
