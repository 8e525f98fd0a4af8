"""Atomic writes: previous or new content, and damage is detected."""

import os
from pathlib import Path

import pytest

from nmt.errors import UserError
from nmt.storage import atomic
from nmt.storage.atomic import (
    is_intact,
    publish_dir,
    read_metadata,
    replace_file,
    replace_link,
    seal_dir,
    staging_dir,
)
from tests.commands import tree_of


def test_a_published_directory_replaces_the_previous_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    for content in ("first", "second"):
        with staging_dir(tmp_path, "target") as staging:
            (staging / content).write_text(content)
            assert not (target / content).exists()
            publish_dir(staging, target)
    assert tree_of(tmp_path) == {"target/second": b"second"}


@pytest.mark.parametrize("name", [None, "target"])
def test_a_failed_attempt_leaves_no_trace(name: str | None, tmp_path: Path) -> None:
    def fail() -> None:
        with staging_dir(tmp_path, name) as staging:
            (staging / "file").write_text("partial")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_the_rest_of_a_killed_attempt_is_removed_by_the_next(tmp_path: Path) -> None:
    with staging_dir(tmp_path, "target") as staging:
        left = staging.name
    (tmp_path / left).mkdir()
    (tmp_path / left / "partial").write_text("partial")
    with staging_dir(tmp_path, "target") as staging:
        assert list(staging.iterdir()) == []
        publish_dir(staging, tmp_path / "target")
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_concurrent_writers_have_staging_directories_of_their_own(tmp_path: Path) -> None:
    with staging_dir(tmp_path) as first, staging_dir(tmp_path) as second:
        assert first != second


def test_an_unwritable_parent_is_a_user_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match="cannot write here: Not a directory"),
        staging_dir(tmp_path / "file" / "target"),
    ):
        pass


def test_a_file_keeps_its_content_when_replacing_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    replace_file(file, "first")

    def fail(path: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(atomic, "flush", fail)
    with pytest.raises(UserError, match="file: cannot be written: disk full"):
        replace_file(file, "second")
    assert tree_of(tmp_path) == {"file": b"first"}


def test_a_replaced_file_has_the_permissions_of_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "plain").write_text("")
    replace_file(tmp_path / "file", "text")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_a_link_is_replaced_even_after_a_killed_attempt(tmp_path: Path) -> None:
    for target in ("one", "two"):
        (tmp_path / ".last.part").symlink_to("nowhere")
        replace_link(tmp_path / "last", target)
        assert os.readlink(tmp_path / "last") == target
    assert [path.name for path in tmp_path.iterdir()] == ["last"]


def _seal(folder: Path, content: bytes) -> Path:
    with staging_dir(folder) as staging:
        (staging / "data").write_bytes(content)
        seal_dir(staging, folder / "sealed", {"sentences": len(content)})
    return folder / "sealed"


def test_a_sealed_directory_is_intact_until_a_file_changes(tmp_path: Path) -> None:
    sealed = _seal(tmp_path, b"12345")
    assert is_intact(sealed)
    assert read_metadata(sealed) == {"sentences": 5}
    time = (sealed / "data").stat().st_mtime_ns
    (sealed / "data").write_bytes(b"12345")
    assert is_intact(sealed), "another time, the same content"
    (sealed / "data").write_bytes(b"12346")
    assert not is_intact(sealed)
    (sealed / "data").write_bytes(b"123456")
    os.utime(sealed / "data", ns=(time, time))
    assert not is_intact(sealed), "another size"
    (sealed / "data").unlink()
    assert not is_intact(sealed)


@pytest.mark.parametrize("manifest", [b"", b"{}", b"[]", b"\xff", b'{"files": {"data": 1}}'])
def test_a_damaged_manifest_is_not_intact(manifest: bytes, tmp_path: Path) -> None:
    sealed = _seal(tmp_path, b"12345")
    (sealed / atomic.MANIFEST).write_bytes(manifest)
    assert not is_intact(sealed)


def test_an_intact_sealed_directory_is_kept_and_a_damaged_one_replaced(tmp_path: Path) -> None:
    sealed = _seal(tmp_path, b"first")
    assert _seal(tmp_path, b"other") == sealed
    assert (sealed / "data").read_bytes() == b"first"
    (sealed / "data").write_bytes(b"damag")
    _seal(tmp_path, b"other")
    assert (sealed / "data").read_bytes() == b"other"
    assert is_intact(sealed)


def test_fingerprints_change_with_content_and_restored_times(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("one")
    before = atomic.fingerprint(file)
    assert atomic.fingerprint(file) == before
    time = file.stat().st_mtime_ns
    file.write_text("two")
    os.utime(file, ns=(time, time))  # as `cp -p` does
    assert atomic.fingerprint(file) != before


def test_directories_are_published_where_the_system_opens_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.delattr(os, "O_DIRECTORY")
    monkeypatch.setattr(os, "open", refuse)
    with staging_dir(tmp_path, "a") as staging:
        (staging / "file").write_bytes(b"1")
        publish_dir(staging, tmp_path / "a")
    assert (tmp_path / "a" / "file").read_bytes() == b"1"
