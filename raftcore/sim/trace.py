"""What happened, in order: the last lines for a human, a hash of everything for a machine."""

from __future__ import annotations

from collections import deque
from zlib import crc32

from raftcore.transport.frames import decode_frame

LINES_KEPT = 200


class SimulationFailed(AssertionError):
    """A property does not hold. ``str()`` holds the seed, its faults, the end of the trace, how to replay."""


class Violation(AssertionError):
    """What a checker raises: the property, and the facts against it."""


def demand(condition: object, what: str, **facts: object) -> None:
    """:raises Violation: when ``condition`` is false."""
    if not condition:
        raise Violation(what + "".join(f" {name}={value!r}" for name, value in facts.items()))


class Trace:
    """The same seed gives the same ``hash``, or the world is not deterministic."""

    def __init__(self, echo: bool = False) -> None:
        self.hash = 0
        self.count = 0
        self._echo = echo
        self._lines: deque[tuple[int, str, int, object]] = deque(maxlen=LINES_KEPT)

    def note(self, time: int, kind: str, node: int, detail: bytes | str | tuple[int, ...] = b"") -> None:
        """``detail`` is a frame, a text, or a host's state."""
        data = detail if isinstance(detail, bytes) else str(detail).encode()
        self.hash = crc32(data, crc32(b"%d %s %d" % (time, kind.encode(), node), self.hash))
        self.count += 1
        line = (time, kind, node, detail)
        self._lines.append(line)
        if self._echo:
            print(_formatted(line))

    def text(self) -> str:
        return "\n".join(_formatted(line) for line in self._lines)


def _formatted(line: tuple[int, str, int, object]) -> str:
    time, kind, node, detail = line
    if isinstance(detail, bytes):
        detail = "; ".join(repr(message) for message in decode_frame(detail)) if detail else ""
    elif isinstance(detail, tuple):
        names = ("term", "role", "commit", "applied", "last", "durable", "leader")
        detail = " ".join(f"{name}={value}" for name, value in zip(names, detail, strict=True))
    return f"{time / 1e6:10.6f} {kind:9} {node:3} {detail}"
