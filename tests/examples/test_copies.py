from pathlib import Path

import make_copies
import pytest

from nmt.examples import copies


def write(folder: Path, seed: int = 1) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    copies.write(folder, {"train": 2000, "valid": 100, "test": 30}, seed)
    return {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}


def test_copy_equals_the_text_of_letters_a_to_h(tmp_path: Path) -> None:
    files = write(tmp_path / "new" / "copy")
    parts = {"train": 2000, "valid": 100, "test_20": 30, "test_40": 30, "test_60": 30}
    assert files.keys() == {f"{name}.{suffix}" for name in parts for suffix in ("text", "copy")}
    for name, size in parts.items():
        assert files[f"{name}.text"] == files[f"{name}.copy"]
        assert len(files[f"{name}.text"].splitlines()) == size
        assert set(files[f"{name}.text"]) == set("abcdefgh\n")


def test_line_lengths_match_the_part(tmp_path: Path) -> None:
    lengths = {
        name: {len(line) for line in text.splitlines()} for name, text in write(tmp_path).items()
    }
    assert lengths["train.text"] == set(range(1, 21))
    assert lengths["valid.text"] <= set(range(1, 21))
    for length in (20, 40, 60):
        assert lengths[f"test_{length}.text"] == {length}


def test_files_are_determined_by_the_seed(tmp_path: Path) -> None:
    first, again, other = (
        write(tmp_path / name, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert first == again
    assert all(first[name] != other[name] for name in first)


def test_impossible_sizes_are_rejected(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        make_copies.main(["--output", str(tmp_path / "x"), "--train", "-1"])
    assert caught.value.code == 2
    assert "sizes must be" in capsys.readouterr().err
