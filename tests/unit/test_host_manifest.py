"""What snapshots consist of, and chunks on the wire."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raftcore.core.errors import BadFrame
from raftcore.host.manifest import Manifest, checksum
from raftcore.transport.snapshot_stream import decode_chunk, encode_chunk


def test_a_manifest_names_every_file_with_size_and_checksum(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "é").write_bytes(b"")
    manifest = Manifest.of(tmp_path)
    assert [(file.path, file.size_bytes) for file in manifest.files] == [("a", 3_000_000), ("below/é", 0)]
    assert manifest.size_bytes == 3_000_000
    assert Manifest.decode(manifest.encode()) == manifest
    found = manifest.file("a")
    assert found is not None and checksum(tmp_path / "a") == (found.size_bytes, found.crc)
    assert manifest.file("b") is None


@pytest.mark.parametrize("path", ["../a", "/a", "a/../../b", "", ".", "a//b", "./a", "a/", "a\0", 7])
def test_a_manifest_whose_paths_lead_out_is_refused(path: object) -> None:
    with pytest.raises(BadFrame):
        Manifest.decode(json.dumps({"files": [[path, 1, 2]]}).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"files": 1}',
        b'{"files": [["a", -1, 2]]}',
        b'{"files": [["a", 1, 2], ["a", 1, 2]]}',
    ],
)
def test_what_is_no_manifest_is_refused(data: bytes) -> None:
    with pytest.raises(BadFrame):
        Manifest.decode(data)


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 203), st.integers(1, 255))
def test_a_damaged_chunk_is_refused(data: bytes, at: int, flipped: int) -> None:
    chunk = bytearray(encode_chunk(data))
    assert decode_chunk(bytes(chunk)) == data
    chunk[at % len(chunk)] ^= flipped
    with pytest.raises(BadFrame):
        decode_chunk(bytes(chunk))
