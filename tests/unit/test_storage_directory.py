"""Replacing a directory: whatever is cut off, the old or the new content is there afterwards."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from raftcore.storage import directory
from raftcore.storage.directory import directory_bytes, replace_directory, settle_directory, sync_tree


class Cut(BaseException):
    """The process ends here."""


def filled(path: Path, content: str) -> Path:
    path.mkdir()
    (path / "file").write_text(content)
    sync_tree(path)
    return path


@pytest.mark.parametrize("step", range(1, 9))
def test_a_replacement_cut_off_at_any_step_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    target, source = filled(tmp_path / "state", "old"), filled(tmp_path / "snapshot", "new")
    left = step

    def cutting(call):
        def cut(*arguments, **named):
            nonlocal left
            left -= 1
            if not left:
                raise Cut
            return call(*arguments, **named)

        return cut

    with monkeypatch.context() as patched:
        patched.setattr(directory, "sync_directory", cutting(directory.sync_directory))
        patched.setattr(os, "rename", cutting(os.rename))
        patched.setattr(shutil, "rmtree", cutting(shutil.rmtree))
        try:
            replace_directory(source, target)
            ended = True
        except Cut:
            ended = False
    settle_directory(target)
    content = (target / "file").read_text()
    assert content == "new" if ended or not source.exists() else content == "old"
    assert source.exists() == (content == "old"), "what is to be installed is kept until it is"
    if source.exists():
        replace_directory(source, target)
    assert (target / "file").read_text() == "new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_a_directory_may_be_put_where_none_was(tmp_path: Path) -> None:
    replace_directory(filled(tmp_path / "snapshot", "new"), tmp_path / "state")
    settle_directory(tmp_path / "state")
    assert (tmp_path / "state" / "file").read_text() == "new"


def test_bytes_are_counted_below(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c").write_bytes(b"x" * 5)
    assert directory_bytes(tmp_path) == 15
    assert directory_bytes(tmp_path / "none") == 0
