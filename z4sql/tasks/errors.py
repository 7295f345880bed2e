"""What can be wrong with tasks and commands.

::

    TaskError
    ├── InvalidTask      a field of a request is wrong; nothing was done
    ├── RequestIdReused  the request id was used for another request; nothing was done
    └── UnknownCommand   the log holds a command of a newer version: this replica must halt, not skip it
"""

from __future__ import annotations


class TaskError(Exception):
    pass


class InvalidTask(TaskError):
    """``field`` is the request's name for what is wrong; ``problem`` says what, and what is right."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class RequestIdReused(TaskError):
    pass


class UnknownCommand(TaskError):
    pass
