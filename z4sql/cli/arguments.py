"""The parser of ``z4`` and ``z4t``: what is wrong is said in one line that names the flag and the remedy."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Final, NoReturn

_BAD_COMMAND: Final = re.compile(r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", re.DOTALL)


class Parser(argparse.ArgumentParser):
    """`argparse`, but for its errors; and ``--from -2h`` is a value, as no flag begins with a number."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **named)  # type: ignore[arg-type]  # passed on as they came
        self._negative_number_matcher = re.compile(r"-\d")

    def error(self, message: str) -> NoReturn:
        """One line and exit code 2; behind the help when no command was named."""
        bad_command = _BAD_COMMAND.match(message)
        if message.endswith("are required: COMMAND"):
            self.print_help(sys.stderr)
            message = "name a command"
        elif bad_command is not None:
            message = _unknown("command", bad_command[1], bad_command[2].replace("'", "").split(", "))
        message = message.removeprefix("argument ").replace("expected one argument", "needs a value")
        self.exit(2, f"{self.prog}: {' '.join(message.split())}; see {self.prog} --help\n")

    def refuse_rest(self, words: Sequence[str]) -> NoReturn:
        """Name the first of ``words``, which no argument took, and what it may have meant."""
        flag = next((word for word in words if word.startswith("-")), None)
        if flag is None:
            self.error(f"one word too many: {words[0]!r}")
        self.error(_unknown("flag", flag.partition("=")[0], list(self._option_string_actions)))


def _unknown(kind: str, given: str, known: Sequence[str]) -> str:
    near = get_close_matches(given, known, n=1)
    return f"{given!r} is no {kind}" + (f", did you mean {near[0]!r}" if near else "")
