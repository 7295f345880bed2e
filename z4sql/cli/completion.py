"""``z4t completion``: scripts for shells, made from the commands as they are."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from z4sql.cli.command import Commands, add_command

SHELLS = ("bash", "zsh", "fish")


def add(commands: Commands) -> None:
    """Register ``completion``."""
    parser = add_command(
        commands, "completion", _print, "print a completion script",
        example="source <(z4t completion bash)",
    )  # fmt: skip
    parser.add_argument("shell", choices=SHELLS)


@dataclass(slots=True, frozen=True)
class Place:
    """What can follow the words ``path``."""

    path: tuple[str, ...]
    commands: tuple[tuple[str, str], ...]
    """Names and explanations."""
    flags: tuple[tuple[str, str, bool], ...]
    """Names, explanations, and whether a value follows."""


def places(parser: argparse.ArgumentParser, path: tuple[str, ...] = ()) -> list[Place]:
    """``parser`` and all below it."""
    commands: list[tuple[str, str]] = []
    flags: list[tuple[str, str, bool]] = []
    below: list[Place] = []
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            commands += [(choice.dest, choice.help or "") for choice in action._choices_actions]
            for name, child in action.choices.items():
                below += places(child, (*path, name))
        elif action.help != argparse.SUPPRESS:
            flags += [(name, action.help or "", action.nargs != 0) for name in action.option_strings]
            if not action.option_strings and action.choices:
                commands += [(str(choice), action.help or "") for choice in action.choices]
    return [Place(path, tuple(commands), tuple(flags)), *below]


def script(shell: str, found: list[Place]) -> str:
    """The script for ``shell``, which is one of `SHELLS`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](found)


def _print(options: argparse.Namespace) -> None:
    from z4sql.cli.z4t import make_parser

    print(script(options.shell, places(make_parser())), end="")


def _bash(found: list[Place]) -> str:
    valued = sorted({name for place in found for name, _, takes in place.flags if takes})
    lines = [
        "# bash completion for z4t",
        "_z4t() {",
        "    local word place= skip= current=${COMP_WORDS[COMP_CWORD]}",
        '    for word in "${COMP_WORDS[@]:1:$((COMP_CWORD - 1))}"; do',
        "        if [[ -n $skip ]]; then skip=; continue; fi",
        '        case "$word" in',
        f"            {'|'.join(valued)}) skip=1 ;;",
        "            -*) ;;",
        '            *) case "$place $word" in',
    ]
    for place in found[1:]:
        lines.append(f'                " {" ".join(place.path)}") place=" {" ".join(place.path)}" ;;')
    lines += [
        "            esac ;;",
        "        esac",
        "    done",
        '    if [[ -n $skip ]]; then COMPREPLY=($(compgen -f -- "$current")); return; fi',
        '    case "$place" in',
    ]
    for place in found:
        words = " ".join([*(name for name, _ in place.commands), *(name for name, _, _ in place.flags)])
        key = f" {' '.join(place.path)}" if place.path else ""
        lines.append(f'        "{key}") COMPREPLY=($(compgen -W "{words}" -- "$current")) ;;')
    return "\n".join([*lines, "    esac", "}", "complete -o default -F _z4t z4t", ""])


def _zsh(found: list[Place]) -> str:
    """zsh reads bash's completions; names that it keeps for itself, as path, must not be used there."""
    start = (
        "(( $+functions[compdef] )) || { autoload -U +X compinit && compinit; }\n"
        "autoload -U +X bashcompinit && bashcompinit\n"
    )
    return _bash(found).replace("# bash completion for z4t\n", "# zsh completion for z4t\n" + start)


def _fish(found: list[Place]) -> str:
    lines = ["# fish completion for z4t", "complete -c z4t -f"]
    for place in found:
        here = _fish_condition(place)
        for name, explanation in place.commands:
            lines.append(f"complete -c z4t -n '{here}' -a {name} -d '{_quoted(explanation)}'")
        for name, explanation, takes in place.flags:
            kind = "-l" if name.startswith("--") else "-s" if len(name) == 2 else "-o"
            value = " -r" if takes else ""
            lines.append(
                f"complete -c z4t -n '{here}' {kind} {name.lstrip('-')}{value} -d '{_quoted(explanation)}'"
            )
    return "\n".join([*lines, ""])


def _fish_condition(place: Place) -> str:
    conditions = [f"__fish_seen_subcommand_from {word}" for word in place.path]
    if place.commands:
        names = " ".join(name for name, _ in place.commands)
        conditions.append(f"not __fish_seen_subcommand_from {names}")
    return "; and ".join(conditions) or "true"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
