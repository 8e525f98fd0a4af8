import csv
import io
import tarfile
from pathlib import Path

import pytest

from tests.scripts.loading import load

prepare = load("prepare_flickr8k")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Ten images with two captions each, a caption without image and an image without caption."""
    folder = tmp_path / "source"
    folder.mkdir()
    with tarfile.open(folder / "images.tar", "w") as tar:
        for number in range(11):
            member = tarfile.TarInfo(f"images/{number}.jpg")
            member.size = 1
            tar.addfile(member, io.BytesIO(bytes([number])))
        evil = tarfile.TarInfo("../../evil.jpg")
        tar.addfile(evil, io.BytesIO())
    with (folder / "captions.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["image", "caption"])
        for number in range(10):
            writer.writerow([f"{number}.jpg", f'caption one,  of "{number}" .'])
            writer.writerow([f"{number}.jpg", f"caption two of {number} ."])
            writer.writerow([f"{number}.jpg", " "])
        writer.writerow(["gone.jpg", "nothing"])
    return folder


def lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def test_parts_share_no_image_and_captions_belong_to_their_images(
    source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    prepare.main([str(source), "--output", str(out), "--valid", "3"])
    train, valid = (lines(out / f"{part}.pictures") for part in ("train", "valid"))
    assert len(train) == 14 and len(valid) == 3
    assert len({*train, *valid}) == 10
    for name in (*train, *valid):
        assert (out / name).read_bytes() == bytes([int(Path(name).stem)])
    for name, caption in zip(train, lines(out / "train.en"), strict=True):
        number = Path(name).stem
        assert caption in (f'caption one, of "{number}" .', f"caption two of {number} .")
    for suffix, words in (("en", 'caption one, of "{}" .'), ("en2", "caption two of {} .")):
        expected = [words.format(Path(name).stem) for name in valid]
        assert lines(out / f"valid.{suffix}") == expected
    assert not (out / "valid.en3").exists()


def test_archive_cannot_write_outside_of_the_directory(source: Path, tmp_path: Path) -> None:
    prepare.main([str(source), "--output", str(tmp_path / "a" / "b"), "--valid", "1"])
    assert not list(tmp_path.glob("evil.jpg")) and not list(tmp_path.glob("a/evil.jpg"))


def test_split_without_training_images_is_rejected(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        prepare.main([str(source), "--output", str(tmp_path / "out"), "--valid", "10"])
    assert caught.value.code == 2
    assert "less than the 10 images" in capsys.readouterr().err
