"""The folders are the architecture: imports point one way, modules stay small, the core stays pure."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [
    path
    for package in ("raftcore", "z4sql")
    for path in sorted((ROOT / package).rglob("*.py"))
    if "_pb" not in path.parts
]

PURE = ("raftcore/core", "raftcore/replica")
IMPURE = {"asyncio", "time", "random", "os", "threading", "socket", "grpc", "rocksdict", "datetime", "uuid"}

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    # folder or module -> prefixes of our own that it may import; the longest match decides
    "raftcore/core": ("raftcore.core",),
    "raftcore/replica": ("raftcore.core", "raftcore.replica"),
    "raftcore/storage": ("raftcore.core", "raftcore.storage"),
    "raftcore/transport": ("raftcore.core", "raftcore.storage", "raftcore.transport"),
    "raftcore/host": ("raftcore.",),
    "raftcore/sim": ("raftcore.",),
    "raftcore/application.py": ("raftcore.core", "raftcore.host", "raftcore.replica", "raftcore.storage"),
    "raftcore/kv": ("raftcore.application", "raftcore.kv"),
    "z4sql/tasks": (
        "raftcore.core",
        "raftcore.replica.group",
        "raftcore.storage.directory",
        "raftcore.storage.kv",
        "raftcore.host.machine",
        "z4sql.tasks",
    ),
    "z4sql/sql": (
        "raftcore.core",
        "raftcore.storage.kv",
        "raftcore.storage.codec",
        "z4sql.tasks",
        "z4sql.sql",
        "z4sql.access",
        "z4sql.allocator",
        "z4sql.telemetry",
    ),
    "z4sql/sql/lowering": ("z4sql.sql",),
    "z4sql/sql/engine": ("z4sql.sql",),
    "z4sql/sql/planner": ("z4sql.sql", "z4sql.tasks"),
    "z4sql/sql/front": ("z4sql.access.model", "z4sql.sql"),
    "z4sql/sql/wire": ("z4sql.sql",),
    "z4sql/sql/catalog": ("z4sql.sql", "z4sql.tasks.record"),
    "z4sql/delivery": (
        "raftcore.core",
        "raftcore.replica.group",
        "raftcore.storage.kv",
        "z4sql.tasks",
        "z4sql.delivery",
    ),
    "z4sql/access": ("z4sql.access",),
    "z4sql/api": (
        "raftcore.",
        "z4sql.access",
        "z4sql.tasks",
        "z4sql.delivery",
        "z4sql.host_watch",
        "z4sql.api",
    ),
    "z4sql/testing": ("z4sql.testing", "z4sql.client", "z4sql.config", "z4sql.peer"),
    "z4sql/client": ("z4sql.client", "z4sql.api._pb"),
    "z4sql/feed.py": ("raftcore.core", "raftcore.storage.codec", "z4sql.tasks"),
    "z4sql/allocator.py": (),
    "z4sql/config.py": ("z4sql.access.tls",),
    "z4sql/security.py": ("z4sql.access", "z4sql.api", "z4sql.config"),
    "z4sql/host_watch.py": (
        "raftcore.core.errors",
        "raftcore.host.host",
        "raftcore.host.saturation",
        "raftcore.replica.turn",
        "z4sql.telemetry",
    ),
    "z4sql/telemetry.py": ("raftcore.core.types", "raftcore.replica.turn"),
    "z4sql/peer.py": ("raftcore.", "z4sql."),
    "z4sql/cli": ("z4sql.",),
}
NEVER_IMPORTED = ("z4sql.cli.",)
LINES_MAX = 520


def rule(path: Path) -> tuple[str, ...] | None:
    name = path.relative_to(ROOT).as_posix()
    matches = [place for place in MAY_IMPORT if name == place or name.startswith(place + "/")]
    return MAY_IMPORT[max(matches, key=len)] if matches else None


def imports(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_point_one_way(path: Path) -> None:
    allowed = rule(path)
    if allowed is None:
        assert path.name == "__init__.py" and not imports(path), f"{path} has no place in the architecture"
        return
    for name in imports(path):
        if name.split(".")[0] in ("raftcore", "z4sql"):
            assert any((name + ".").startswith(prefix) or name.startswith(prefix) for prefix in allowed), (
                f"{path.relative_to(ROOT)} imports {name}"
            )


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.relative_to(ROOT).as_posix().startswith(PURE)],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_core_and_replica_use_no_clock_randomness_or_io(path: Path) -> None:
    tree = ast.parse(path.read_text())
    typing_only = {
        id(node)
        for branch in ast.walk(tree)
        if isinstance(branch, ast.If)
        and isinstance(branch.test, ast.Name)
        and branch.test.id == "TYPE_CHECKING"
        for node in ast.walk(branch)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            assert not IMPURE & {alias.name.split(".")[0] for alias in node.names}, path
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] not in IMPURE, path


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_modules_can_be_read_at_one_sitting(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LINES_MAX


def test_nothing_imports_the_command_line() -> None:
    for path in MODULES:
        if "cli" not in path.parts:
            assert not [name for name in imports(path) if (name + ".").startswith(NEVER_IMPORTED)], path


def test_the_library_knows_nothing_of_its_example() -> None:
    for path in MODULES:
        if not path.relative_to(ROOT).as_posix().startswith("raftcore/kv/"):
            assert not [name for name in imports(path) if (name + ".").startswith("raftcore.kv.")], path


def test_the_map_of_the_library_names_every_module() -> None:
    text = (ROOT / "raftcore" / "DESIGN.md").read_text()
    named = {name.rpartition(".")[2] for name in re.findall(r"`([a-z_.]+)`", text)}
    for path in MODULES:
        place = path.relative_to(ROOT).parts
        if place[0] == "raftcore" and place[1] != "kv" and not path.stem.startswith("__"):
            assert path.stem in named, path


def test_only_one_module_sees_rocksdict() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in MODULES
        if any(n.split(".")[0] == "rocksdict" for n in imports(path))
    }
    assert users == {"raftcore/storage/kv.py"}


def test_nothing_imports_the_executor_that_evaluates_generated_code() -> None:
    for path in MODULES:
        for name in imports(path):
            assert not name.startswith("sqlglot.executor") or path.name == "codec.py", path
