"""Compressed text: recognized by content, corrupt files, and decompression bombs."""

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest

from nmt.data import compression
from nmt.data.compression import FORMATS
from nmt.data.text import read_lines
from nmt.errors import UserError

TEXT = "".join(f"Zeile {number} äöü\n" for number in range(5000)).encode()
COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
}


def compress(suffix: str, text: bytes) -> bytes:
    if suffix == ".zst":
        zstandard = pytest.importorskip("zstandard")
        packed: bytes = zstandard.ZstdCompressor(write_checksum=True).compress(text)
        return packed
    return COMPRESS[suffix](text)


def error_of(path: Path) -> str:
    with pytest.raises(UserError) as raised:
        list(read_lines(path))
    return str(raised.value)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_compressed_text_is_read_whatever_its_name(tmp_path: Path, suffix: str) -> None:
    expected = TEXT.decode().splitlines()
    packed = compress(suffix, TEXT)
    for name in (f"text{suffix}", "text", "text.gz"):
        (tmp_path / name).write_bytes(packed)
        assert list(read_lines(tmp_path / name)) == expected
    assert list(read_lines(io.BufferedReader(io.BytesIO(packed)), "<stdin>")) == expected
    # Programs such as pigz and pzstd write several members.
    (tmp_path / "two").write_bytes(packed + packed)
    assert list(read_lines(tmp_path / "two")) == 2 * expected


@pytest.mark.parametrize("suffix", list(FORMATS))
@pytest.mark.parametrize("size", [0.2, 0.9, 0.999])
def test_truncated_file_is_named(tmp_path: Path, suffix: str, size: float) -> None:
    packed = compress(suffix, TEXT)
    path = tmp_path / f"text{suffix}"
    path.write_bytes(packed[: int(size * len(packed))])
    assert error_of(path).startswith(f"{path}: is corrupt (")
    assert error_of(path).endswith(f"compress it again with {FORMATS[suffix].name}")


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_corrupt_file_is_named(tmp_path: Path, suffix: str) -> None:
    packed = bytearray(compress(suffix, TEXT))
    packed[len(packed) // 2] ^= 255
    path = tmp_path / "text"
    path.write_bytes(packed)
    assert f"{path}: is corrupt" in error_of(path)


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_decompression_bomb_is_refused_before_it_is_read(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compression, "MIN_BOMB_BYTES", 100_000)
    path = tmp_path / "text"
    path.write_bytes(compress(suffix, b"a\n" * 4_000_000))
    lines = read_lines(path)
    with pytest.raises(
        UserError, match="text: expands to more than 200 times its size; decompress"
    ):
        assert sum(1 for _ in lines) < 1_000_000
    path.write_bytes(compress(suffix, TEXT * 4))
    assert sum(1 for _ in read_lines(path)) == 20_000


@pytest.mark.parametrize("suffix", list(FORMATS))
def test_writers_and_readers_agree(suffix: str) -> None:
    if suffix == ".zst":
        pytest.importorskip("zstandard")
    stream = io.BytesIO()
    writer = FORMATS[suffix].writer(stream)
    writer.write(TEXT)
    writer.close()
    packed = io.BufferedReader(io.BytesIO(stream.getvalue()))
    assert list(read_lines(packed, "x")) == TEXT.decode().splitlines()


def test_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr(compression, "import_module", fail)
    path = tmp_path / "text.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd\0")
    assert f"{path}: zstd requires the package zstandard; run pip install" in error_of(path)


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"%PDF-1.7", b"7z\xbc\xaf\x27\x1c"])
def test_archives_and_documents_are_named(tmp_path: Path, start: bytes) -> None:
    path = tmp_path / "text.de"
    path.write_bytes(start + bytes(100))
    assert "extract its text first" in error_of(path)


def test_text_that_begins_like_an_archive_is_text(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes(b"BZh9 is the start of bzip2\n")
    assert list(read_lines(path)) == ["BZh9 is the start of bzip2"]
