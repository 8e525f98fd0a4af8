"""Archives of bundles: equal bytes, alignment, and refusal of everything else."""

import struct
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from nmt.errors import UserError
from nmt.storage.bundle import (
    ALIGNMENT,
    CARD,
    CONFIG,
    INFO,
    WEIGHTS,
    is_bundle,
    read_bundle,
    write_bundle,
    write_folder,
)
from nmt.storage.checksums import CHECKSUMS

FILES = {
    INFO: b'{"format": 1, "precision": "int8", "blocks": {"a": [2, 3]}}',
    CONFIG: b"model: {}\n",
    "vocabulary/joint.model": b"tokens",
    WEIGHTS: bytes(range(256)) * 10,
    CARD: b"card",
}


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    write_bundle(tmp_path / "a.nmt", FILES)
    return tmp_path / "a.nmt"


def rewrite(bundle: Path, change: Callable[[zipfile.ZipFile], object]) -> Path:
    """Write an archive by other means, with the members of a bundle unless `change` replaces it."""
    path = bundle.with_name("changed.nmt")
    with zipfile.ZipFile(path, "w") as archive, zipfile.ZipFile(bundle) as original:
        for name in original.namelist():
            archive.writestr(name, original.read(name))
        change(archive)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        read_bundle(path)
    assert error.value.location == str(path)
    return error.value.message


def test_bundle_has_the_files_that_were_written(bundle: Path) -> None:
    read = read_bundle(bundle)
    assert {name: read.files[name] for name in FILES} == FILES
    assert (read.precision, read.blocks, read.is_verified) == ("int8", {"a": [2, 3]}, True)
    assert read.vocabularies == ["vocabulary/joint.model"]
    write_bundle(bundle.with_name("b.nmt"), FILES)
    assert bundle.with_name("b.nmt").read_bytes() == bundle.read_bytes()


def test_content_of_members_is_stored_at_aligned_positions(bundle: Path) -> None:
    data = bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        for member in archive.infolist():
            start = member.header_offset
            name, extra = struct.unpack("<HH", data[start + 26 : start + 30])
            content = start + 30 + name + extra
            assert content % ALIGNMENT == 0
            assert data[content : content + member.file_size] == archive.read(member)


def test_folder_with_the_files_is_read_like_a_bundle(bundle: Path, tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", FILES)
    assert read_bundle(tmp_path / "folder").files == read_bundle(bundle).files
    assert is_bundle(tmp_path / "folder")
    with pytest.raises(UserError, match=r"already exists; remove it"):
        write_folder(tmp_path / "folder", FILES)
    (tmp_path / "folder" / WEIGHTS).write_bytes(b"others")
    assert "model.safetensors does not match its checksum" in refusal(tmp_path / "folder")


def test_card_of_a_folder_may_be_edited(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", FILES)
    (tmp_path / "folder" / CARD).write_text("better", encoding="utf-8")
    assert read_bundle(tmp_path / "folder").is_verified


def test_link_out_of_a_folder_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "folder", FILES)
    secret = tmp_path / "secret"
    secret.write_bytes(FILES[CONFIG])
    (tmp_path / "folder" / CONFIG).unlink()
    (tmp_path / "folder" / CONFIG).symlink_to(secret)
    with pytest.raises(UserError, match="leads out of the folder"):
        read_bundle(tmp_path / "folder")
    assert read_bundle(tmp_path / "folder", inside=tmp_path).files[CONFIG] == FILES[CONFIG]


def test_every_truncation_is_refused_in_one_line(bundle: Path) -> None:
    data = bundle.read_bytes()
    for size in (0, 1, 4, 21, 100, len(data) // 2, len(data) - 22, len(data) - 1):
        bundle.write_bytes(data[:size])
        assert "\n" not in refusal(bundle)


def test_every_changed_byte_is_found_or_has_no_effect(bundle: Path) -> None:
    data, files = bundle.read_bytes(), read_bundle(bundle).files
    refused = 0
    for place in range(0, len(data), 7):
        bundle.write_bytes(data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :])
        with suppress(UserError):
            assert read_bundle(bundle).files == files
            continue
        refused += 1
    assert refused > len(data) / 7 / 2


def test_other_members_are_refused(bundle: Path) -> None:
    def add(name: str, content: bytes = b"", **options: int) -> Callable[[zipfile.ZipFile], object]:
        return lambda archive: archive.writestr(name, content, **options)

    for name in ("plugin.py", "vocabulary/joint.pkl", "../outside", "/etc/passwd", "vocabulary/"):
        assert "contains other or repeated files" in refusal(rewrite(bundle, add(name)))
    with pytest.warns(UserWarning, match="Duplicate name"):
        repeated = rewrite(bundle, add(CARD, b"card"))
    assert "contains other or repeated files" in refusal(repeated)
    compressed = add("vocabulary/source.model", bytes(1 << 20), compress_type=zipfile.ZIP_DEFLATED)
    assert "is compressed or encrypted" in refusal(rewrite(bundle, compressed))
    many = rewrite(bundle, lambda archive: [add(f"{i}.py")(archive) for i in range(9)])
    assert "has too many members" in refusal(many)
    unlisted = rewrite(bundle, add("vocabulary/source.model", b"tokens"))
    assert "vocabulary/source.model does not match its checksum" in refusal(unlisted)
    huge = rewrite(bundle, add("vocabulary/source.model", bytes(16)))
    data = bytearray(huge.read_bytes())
    entry = data.rindex(b"vocabulary/source.model") - 46  # in the table of contents
    struct.pack_into("<LL", data, entry + 20, 1 << 31, 1 << 31)
    huge.write_bytes(data)
    assert "is too large" in refusal(huge)

    link = zipfile.ZipInfo("vocabulary/source.model")
    link.external_attr = 0o120777 << 16
    linked = rewrite(bundle, lambda archive: archive.writestr(link, "/etc/passwd"))
    assert "is not a regular file" in refusal(linked)


def test_missing_members_are_named(bundle: Path) -> None:
    for name in (INFO, CONFIG, WEIGHTS, CARD, CHECKSUMS):
        with zipfile.ZipFile(bundle) as archive:
            kept = {n: archive.read(n) for n in archive.namelist() if n != name}
        path = bundle.with_name("changed.nmt")
        with zipfile.ZipFile(path, "w") as archive:
            for one, content in kept.items():
                archive.writestr(one, content)
        assert f"it has no {name}" in refusal(path)
    without = {name: content for name, content in FILES.items() if "vocabulary" not in name}
    write_bundle(bundle, without)
    assert read_bundle(bundle).vocabularies == []


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (b"{", "bundle.json is not that of a bundle"),
        (b"[]", "bundle.json is not that of a bundle"),
        (b'{"format": 2, "precision": "fp32"}', "has the format 2, and this version reads 1"),
        (b'{"format": 1, "precision": "fp4"}', "bundle.json is not that of a bundle"),
        (b'{"format": 1, "precision": "int8", "blocks": {"a": [-1]}}', "is not that of a bundle"),
        (b'{"format": 1, "precision": "int8", "blocks": {"a": [true]}}', "is not that of a bundle"),
        (b"[" * 100_000, "bundle.json is not that of a bundle"),
    ],
)
def test_odd_information_is_refused(bundle: Path, info: bytes, message: str) -> None:
    write_bundle(bundle, FILES | {INFO: info})
    assert message in refusal(bundle)


def test_text_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "a.nmt").write_text("text\n" * 100, encoding="utf-8")
    assert "is not a bundle; give a run, or a file" in refusal(tmp_path / "a.nmt")
