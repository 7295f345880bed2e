"""What z4t prints: tables, explanations, lines that are read, completion scripts."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from z4sql.cli.bench import quantile
from z4sql.cli.command import CommandError, confirm
from z4sql.cli.completion import places, script
from z4sql.cli.consume import first_generation
from z4sql.cli.explaining import explain
from z4sql.cli.produce import read_line
from z4sql.cli.showing import payload_json, task_json
from z4sql.cli.tables import clip, print_pairs, print_table, width
from z4sql.cli.z4t import make_parser
from z4sql.client import ConnectedConsumer, Namespace, Task, TaskEvent

NOW = datetime(2022, 4, 16, 10, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)

TASK = Task(
    id="4003NPD1EW7TK0000000000000",
    namespace="emails",
    deliver_at=NOW + 3 * HOUR,
    created_at=NOW - HOUR,
    metadata={"user": "42"},
    payload=b"hello",
    state="scheduled",
    attempts=0,
    last_error="",
    next_attempt_at=NOW + 3 * HOUR,
)
NAMESPACE = Namespace("emails", 300, 5, 1000, 60_000, 2.0, 86_400, False, None, NOW - HOUR)


def event(kind: str, at: datetime, attempt: int = 0, detail: str = "") -> TaskEvent:
    return TaskEvent(kind, at, attempt, detail)


def said(task: Task, namespace: Namespace | None = NAMESPACE) -> str:
    return "\n".join(explain(task, namespace, NOW))


def test_a_task_that_is_not_due_yet() -> None:
    assert said(TASK) == "It is not due yet: it will be due at 2022-04-16T13:00:00Z (in 3 h)."


def test_a_due_task_that_nobody_takes() -> None:
    due = replace(TASK, next_attempt_at=NOW - timedelta(minutes=5))
    text = said(due)
    assert "due since 2022-04-16T09:55:00Z (5 min ago), and nobody took it: no consumer of 'emails'" in text
    just_due = replace(TASK, next_attempt_at=NOW)
    assert "about to be delivered" in said(just_due)
    ready = ConnectedConsumer("a", 0, 9, False)
    assert "about to be delivered" in "\n".join(explain(just_due, NAMESPACE, NOW, [ready]))
    assert "nobody took it: no consumer of 'emails'" in "\n".join(explain(just_due, NAMESPACE, NOW, []))


def test_a_due_task_says_who_is_connected_to_take_it() -> None:
    due = replace(TASK, next_attempt_at=NOW - timedelta(minutes=5))

    def why(*consumers: ConnectedConsumer) -> str:
        (line,) = explain(due, NAMESPACE, NOW, consumers)
        return line.partition("and nobody took it: ")[2]

    full = ConnectedConsumer("a", 8, 0, False)
    leaving = ConnectedConsumer("b", 1, 5, True)
    ready = ConnectedConsumer("c", 0, 9, False)
    assert why() == "no consumer of 'emails' is connected."
    assert why(full) == "one consumer of 'emails' connected, with as many tasks as it asked for (8 held)."
    assert why(full, leaving) == (
        "2 consumers of 'emails' connected, with as many tasks as they asked for (9 held)."
    )
    assert why(leaving) == "one consumer of 'emails' connected, about to leave and taking no more."
    assert why(full, ready) == (
        "2 consumers of 'emails' connected, 1 of them ready to take more; what was due before it comes first."
    )


def test_a_paused_namespace_is_named_with_the_remedy() -> None:
    due = replace(TASK, next_attempt_at=NOW - timedelta(minutes=5))
    paused = replace(NAMESPACE, paused=True)
    assert said(due, paused).startswith(
        "The namespace 'emails' is paused"
    ) and "namespace resume emails" in said(due, paused)
    assert "until 2022-04-16T11:00:00Z (in 1 h)" in said(due, replace(paused, paused_until=NOW + HOUR))
    assert "paused" not in said(due, replace(paused, paused_until=NOW - HOUR))


def test_a_task_between_two_attempts_says_why_the_former_failed() -> None:
    failed = replace(
        TASK,
        attempts=2,
        last_error="OSError: no route",
        next_attempt_at=NOW + timedelta(seconds=20),
        events=(event("nacked", NOW - timedelta(seconds=10), 2, "OSError: no route"),),
    )
    text = said(failed)
    assert "next attempt, at 2022-04-16T10:00:20Z (in 20 s)" in text
    assert "Attempt 2 of at most 5 failed, at 2022-04-16T09:59:50Z (10 s ago): OSError: no route" in text


def test_an_attempt_whose_consumer_vanished_names_it() -> None:
    failed = replace(
        TASK,
        attempts=1,
        events=(
            event("leased", NOW - HOUR, 1, "worker-7"),
            event("lease_expired", NOW - timedelta(minutes=1), 1),
        ),
    )
    assert "its consumer (worker-7) gave no answer before the lease ended" in said(failed)


def test_a_leased_task_names_its_holder_and_until_when() -> None:
    leased = replace(
        TASK,
        state="leased",
        attempts=1,
        lease_owner="worker-7",
        lease_until=NOW + timedelta(minutes=4),
        last_attempt_at=NOW - timedelta(minutes=1),
    )
    text = said(leased)
    assert "leased by 'worker-7' until 2022-04-16T10:04:00Z (in 4 min): attempt 1 of at most 5" in text
    assert "it is delivered again" in said(replace(leased, lease_until=NOW - timedelta(seconds=1)))


def test_a_finished_task_says_how_it_ended() -> None:
    done = replace(
        TASK,
        state="done",
        attempts=1,
        deliver_at=NOW - HOUR,
        last_attempt_at=NOW - HOUR + timedelta(milliseconds=2),
        finished_at=NOW - HOUR + timedelta(seconds=1),
        events=(event("leased", NOW - HOUR, 1, "worker-7"),),
    )
    assert "delivered to 'worker-7' at 2022-04-16T09:00:00.002Z, 2 ms after it was due" in said(done)
    dead = replace(TASK, state="dead", attempts=5, finished_at=NOW - HOUR, last_error="boom")
    assert "its attempts are used up (5 of 5)" in said(dead) and "The last error: boom" in said(dead)
    assert "no further attempt can succeed (2 of 5)" in said(replace(dead, attempts=2))
    assert "It was canceled at" in said(replace(TASK, state="canceled", finished_at=NOW))
    expired = replace(TASK, state="expired", expire_at=NOW - HOUR, finished_at=NOW - HOUR)
    assert "It expired" in said(expired)


def test_a_task_that_will_expire_before_its_time_says_so() -> None:
    assert "It expires before that" in said(replace(TASK, expire_at=NOW + HOUR))
    assert "It expires at" in said(replace(TASK, expire_at=NOW + 5 * HOUR))


def test_columns_stand_under_each_other_whatever_they_hold() -> None:
    out = io.StringIO()
    print_table(("A", "B"), [("short", "1"), ("日本", "2"), ("e\u0301", "3")], out)
    lines = out.getvalue().splitlines()
    assert [width(line[: line.index(digit)]) for line, digit in zip(lines, "B123", strict=True)] == [7] * 4


def test_what_users_stored_cannot_move_the_cursor() -> None:
    out = io.StringIO()
    print_table(("ID",), [("\x1b[2Jgone\r\nnext\u202e",)], out)
    print_pairs([("payload", "\x07\x9b31m")], out)
    assert not {character for character in out.getvalue() if not character.isprintable()} - {"\n"}


@given(st.text(max_size=40), st.integers(1, 20))
def test_clipped_text_fits(text: str, columns: int) -> None:
    assert width(clip(text, columns)) <= columns


def test_long_tables_are_printed_in_blocks_with_one_head() -> None:
    out = io.StringIO()
    assert print_table(("N",), ((str(n),) for n in range(1000)), out) == 1000
    assert out.getvalue().split() == ["N", *map(str, range(1000))]


def test_a_printed_task_can_be_produced_again() -> None:
    import json

    shown = task_json(replace(TASK, payload=b"\xff\x00"), with_events=True)
    task = read_line(json.dumps(shown).encode(), None, NOW)
    assert (task.namespace, task.payload, task.metadata, task.deliver_at) == (
        "emails",
        b"\xff\x00",
        {"user": "42"},
        NOW + 3 * HOUR,
    )


@given(st.binary(max_size=60))
def test_every_payload_survives_its_json(payload: bytes) -> None:
    import json

    line = json.dumps({"namespace": "x", **payload_json(payload)}).encode()
    assert read_line(line, None, NOW).payload == payload


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"oops", "is no JSON"),
        (b"[1]", "is no JSON object"),
        (b"{}", "namespace: is required"),
        (b'{"namespace":"x","payloda":""}', "did you mean 'payload'"),
        (b'{"namespace":"x","colour":""}', "unknown field 'colour'; known: namespace"),
        (b'{"namespace":"x","payload":"a","payload_base64":"YQ=="}', "payload_base64: give it or payload"),
        (b'{"namespace":"x","payload_base64":"?"}', "payload_base64: "),
        (b'{"namespace":"x","metadata":{"a":1}}', "metadata: must be an object of strings"),
        (b'{"namespace":"x","deliver_at":"soon"}', "deliver_at: 'soon' is no time"),
        (b'{"namespace":5}', "namespace: must be a string"),
        (b'{"namespace":"x","deliver_at":5}', 'deliver_at: must be a string, for example "2022'),
        (b'{"namespace":"x","delay":5}', 'delay: must be a string, for example "90s"'),
        (b'{"namespace":"x","delay":"soon"}', "delay: 'soon' is no duration"),
        (b'{"namespace":"x","tts_seconds":1.5}', "tts_seconds: must be a number of whole seconds"),
        (b'{"namespace":"x","payload":"\\ud800"}', "payload: is not valid Unicode"),
    ],
)
def test_a_bad_line_names_its_field(line: bytes, problem: str) -> None:
    with pytest.raises(ValueError) as raised:
        read_line(line, None, NOW)
    assert problem in str(raised.value)


def test_payloads_that_are_no_text_become_compact_json() -> None:
    task = read_line(b'{"payload": {"a": [1, "\xc3\xa9"]}, "delay": "90s"}', "x", NOW)
    assert (task.payload, task.delay) == ('{"a":[1,"é"]}'.encode(), timedelta(seconds=90))


def test_tasks_are_printed_as_the_first_generations_did() -> None:
    task = replace(TASK, attempts=2, last_attempt_at=NOW + timedelta(milliseconds=1))
    assert first_generation(task, later=False) == {
        "id": TASK.id,
        "namespace": "emails",
        "metadata": {"user": "42"},
        "payload": "aGVsbG8=",
        "deliver_at": {"seconds": 1650114000},
        "last_retry": {"seconds": 1650103200, "nanos": 1_000_000},
        "created_at": {"seconds": 1650099600},
    }
    later = first_generation(replace(TASK, metadata={}, payload=b""), later=True)
    assert list(later) == ["id", "queue", "schedule_time", "created_at"]


def test_quantiles_are_values_that_occurred() -> None:
    assert [quantile([1.0, 2.0, 3.0, 4.0], part) for part in (0.25, 0.5, 0.99, 1.0)] == [1, 2, 4, 4]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("answer", "agreed"), [("y\n", True), ("YES\n", True), ("n\n", False), ("", False)])
def test_questions_are_answered_on_a_terminal(
    answer: str, agreed: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    if agreed:
        confirm("purge 3 tasks?", yes=False)
    else:
        with pytest.raises(CommandError, match="nothing was done"):
            confirm("purge 3 tasks?", yes=False)
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "purge 3 tasks? [y/N] ")


def completed(shell: str, tmp_path: Path, line: str) -> set[str]:
    """What ``shell`` offers behind ``line``."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell, places(make_parser())))
    words = line.split(" ")
    array = " ".join(f"'{word}'" for word in words)
    where = f"COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}"
    ask = f"{where}; _z4t; printf '%s\\n' ${{COMPREPLY[@]}}"
    code = {
        "bash": f"source {path}; {ask}",
        # As bashcompinit calls it: the rules of sh hold.
        "zsh": f"source {path}; ask() {{ emulate -L sh; {ask}; }}; ask",
        "fish": f"source {path}; complete -C '{line}' | cut -f 1",
    }[shell]
    flags = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"]}[shell]
    environment = os.environ | {"HOME": str(tmp_path), "ZDOTDIR": str(tmp_path)}
    done = subprocess.run(
        [shell, *flags, "-c", code], capture_output=True, text=True, timeout=20, env=environment
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    # zsh passes by itself over what does not begin as the word does.
    return {word for word in done.stdout.split() if shell != "zsh" or word.startswith(words[-1])}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_complete_commands_flags_and_what_stands_below(shell: str, tmp_path: Path) -> None:
    def offered(line: str) -> set[str]:
        return completed(shell, tmp_path, line)

    assert {"task", "namespace", "dead", "consume", "add-peer"} <= offered("z4t ")
    assert {"create", "explain", "reschedule"} <= offered("z4t -t host:1 task ")
    assert offered("z4t task re") == {"remove", "reschedule"}
    assert {"--from", "--to", "--state"} <= offered("z4t task list --")
    assert offered("z4t completion ") >= {"bash", "zsh", "fish"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_scripts_are_accepted_by_their_shells(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    path = tmp_path / "script"
    path.write_text(script(shell, places(make_parser())))
    done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
