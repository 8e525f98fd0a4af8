"""Lists of checksums in the format of sha256sum."""

import shutil
import subprocess
from pathlib import Path

from nmt.storage.checksums import CHECKSUMS, parse_checksums, sha256, write_checksums


def test_sha256_is_that_of_sha256sum(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")  # FIPS 180-2, appendix B.1
    assert sha256(tmp_path / "file") == (
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


def test_list_is_read_as_written_and_by_sha256sum(tmp_path: Path) -> None:
    names = ["b", "a file", "a"]
    for name in names:
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path, names)
    listed = parse_checksums((tmp_path / CHECKSUMS).read_text())
    assert list(listed.items()) == [(name, sha256(tmp_path / name)) for name in names]
    if shutil.which("sha256sum"):
        subprocess.run(["sha256sum", "--check", "--quiet", CHECKSUMS], cwd=tmp_path, check=True)
