"""Files that a user names: missing, too large, special or unreadable ones."""

import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.errors import UserError
from nmt.files import (
    exists,
    is_dir,
    is_file,
    open_regular,
    read_regular,
    read_text,
    resolve,
)


def _make(folder: Path, kind: str) -> Path:
    path = folder / "one"
    match kind:
        case "directory":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "link to a pipe":
            os.mkfifo(folder / "pipe")
            path.symlink_to(folder / "pipe")
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(str(path))
        case "device":
            path.symlink_to("/dev/zero")
        case "loop":
            path.symlink_to(path)
        case "dangling link":
            path.symlink_to(folder / "nowhere")
        case "below a file":
            path.write_bytes(b"x")
            return path / "two"
        case "long":
            return folder / ("x" * 5_000)
        case "null":
            return folder / "a\0b"
        case "surrogate":
            return folder / "a\ud800b"
        case _:
            assert kind == "missing"
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("directory", "is a directory; give a file"),
        ("pipe", "is a named pipe; give a file"),
        ("link to a pipe", "is a named pipe; give a file"),
        ("socket", "is a socket; give a file"),
        ("device", "is a device; give a file"),
        ("loop", "Too many levels of symbolic links"),
        ("dangling link", "not found"),
        ("below a file", "not found"),
        ("missing", "not found"),
        ("long", "File name too long; choose a shorter name"),
        ("null", "null"),
        ("surrogate", "surrogates not allowed"),
    ],
)
def test_anything_but_a_regular_file_is_refused(
    kind: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    path = _make(Path(), kind)
    # Opening a pipe would block, and reading the device would never end.
    with pytest.raises(UserError) as raised:
        read_regular(path, max_bytes=10)
    assert message in str(raised.value)
    (line,) = raised.value.lines
    assert line.isprintable()
    assert len(line) < 500


def test_a_pipe_that_replaces_a_file_does_not_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, mode = tmp_path / "one", os.stat(__file__).st_mode
    os.mkfifo(path)
    monkeypatch.setattr("nmt.files._mode", lambda path: mode)
    with pytest.raises(UserError, match="is a named pipe"):
        open_regular(path)


def test_size_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_bytes(b"x" * (1 << 20))
    assert len(read_regular(path, max_bytes=1 << 20)) == 1 << 20
    with open_regular(path) as stream:
        assert len(stream.read()) == 1 << 20
    path.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(UserError, match="one: is larger than 1 MiB, the limit for a file of"):
        open_regular(path, max_bytes=1 << 20)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="files without a size")
def test_size_of_a_file_that_reports_none_is_limited() -> None:
    assert read_regular(Path("/proc/self/maps"), max_bytes=1 << 26)
    with pytest.raises(UserError, match="is larger than"):
        read_regular(Path("/proc/self/maps"), max_bytes=10)


def test_text_must_be_utf8(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.write_bytes("a\nß\n".encode())
    assert read_text(path, max_bytes=10) == "a\nß\n"
    path.write_bytes(b"a\nb\n\xff\n")
    with pytest.raises(UserError, match=r"one:3: is not UTF-8; save it as UTF-8 text$"):
        read_text(path, max_bytes=10)


def test_existence_follows_links(tmp_path: Path) -> None:
    file, link = tmp_path / "file", tmp_path / "link"
    file.touch()
    link.symlink_to(file)
    assert [exists(one) for one in (file, link, tmp_path)] == [True, True, True]
    assert [is_file(one) for one in (file, link, tmp_path)] == [True, True, False]
    assert [is_dir(one) for one in (file, link, tmp_path)] == [False, False, True]
    assert resolve(link) == resolve(file)
    file.unlink()
    for find in (exists, is_file, is_dir):
        assert not find(link)
        assert not find(tmp_path / "missing")
        assert not find(link / "below")


@pytest.mark.parametrize("function", [exists, is_file, is_dir])
@pytest.mark.parametrize("kind", ["loop", "null", "long"])
def test_a_name_that_the_system_refuses_is_reported(
    function: Callable[[Path], object], kind: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        function(_make(tmp_path, kind))


def test_a_name_without_a_path_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot be read: .*null"):
        resolve(_make(tmp_path, "null"))
    if sys.version_info < (3, 13):  # later versions return the link
        with pytest.raises(UserError, match="cannot be read: Too many levels of symbolic links"):
            resolve(_make(tmp_path, "loop"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_reported(tmp_path: Path) -> None:
    path = tmp_path / "one"
    path.touch(mode=0)
    with pytest.raises(UserError, match="one: cannot be read: Permission denied; change the perm"):
        read_regular(path, max_bytes=10)
