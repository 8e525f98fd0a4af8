"""The pictures of a corpus: numbered, found again, and in the batches beside their captions."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nmt.data.album import Album, open_album
from nmt.data.batching import plan_epoch
from nmt.data.cache import encode_corpus
from nmt.data.corpus import Corpus, resolve
from nmt.data.encoded import Array, EncodedCorpus
from nmt.data.pictures import PictureSizes, read_picture
from nmt.data.sampling import sample_corpus
from nmt.data.stream import make_batch
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

SIZES = PictureSizes(size=4)
MAPS = PictureSizes(features=3, positions=2)
CAPTIONS = ["A man reads.", "A dog.", "A woman sleeps in the garden.", "The dog waits."]


def paint(folder: Path, name: str, shade: int) -> None:
    """A picture of one shade of grey."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade,) * 3).save(folder / "images" / name)


def write_lines(file: Path, lines: list[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Two parts in folders of their own; a.png is another picture in each, b.png stands twice."""
    for folder, names in (("one", ["a.png", "b.png"]), ("two", ["a.png", "c.png"])):
        for name in names:
            paint(tmp_path / folder, name, 10 * ord(name[0]) % 251 + len(folder + name))
    paint(tmp_path / "two", "a.png", 77)
    write_lines(tmp_path / "one" / "t.pictures", ["images/a.png", "images/b.png", "images/b.png"])
    write_lines(tmp_path / "one" / "t.en", CAPTIONS[:3])
    write_lines(tmp_path / "two" / "t.pictures", ["images/c.png", "images/a.png"])
    write_lines(tmp_path / "two" / "t.en", CAPTIONS[2:])
    specs = [tmp_path / "one" / "t", tmp_path / "two" / "t"]
    return resolve(specs, "pictures", "en", pictures=True)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The pictures that were read."""
    files: list[Path] = []

    def spy(file: Path, sizes: PictureSizes) -> Array:
        files.append(file)
        return read_picture(file, sizes)

    monkeypatch.setattr("nmt.data.album.read_picture", spy)
    return files


def shade(path: Path) -> int:
    with Image.open(path) as image:
        value = image.convert("L").getpixel((0, 0))
    assert isinstance(value, int)
    return value


def named(corpus: Corpus) -> list[str]:
    return [source for source, _ in corpus.pairs()]


def test_a_picture_is_one_row_however_often_it_is_named(corpus: Corpus, opened: list[Path]) -> None:
    found = open_album(corpus, SIZES, folder=None)
    assert len(found) == len(opened) == 4
    assert found.pictures.shape == (4, 3, 4, 4)
    numbers = found.encode_all(named(corpus))
    assert numbers == [[0], [1], [1], [2], [3]]
    for name, (number,) in zip(named(corpus), numbers, strict=True):
        assert (found.pictures[number] == shade(Path(name))).all()


def same(one: Album, other: Album) -> bool:
    return np.array_equal(one.pictures, other.pictures) and one.fingerprint == other.fingerprint


def test_a_second_start_reads_no_picture(
    corpus: Corpus, opened: list[Path], tmp_path: Path
) -> None:
    first = open_album(corpus, SIZES, folder=tmp_path / "cache")
    assert len(opened) == 4
    opened.clear()
    second = open_album(corpus, SIZES, folder=tmp_path / "cache")
    assert opened == []
    assert same(first, second)
    assert same(first, open_album(corpus, SIZES, folder=None))
    assert isinstance(second.pictures.base, np.memmap)


def test_what_has_changed_is_read_again(corpus: Corpus, opened: list[Path], tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    first = open_album(corpus, SIZES, folder=folder)
    file = Path(named(corpus)[0])
    later = file.stat().st_mtime_ns + 1
    paint(file.parents[1], file.name, 200)
    os.utime(file, ns=(later, later))
    opened.clear()
    second = open_album(corpus, SIZES, folder=folder)
    assert len(opened) == 4
    assert (second.pictures[0] == 200).all()
    assert second.fingerprint != first.fingerprint
    opened.clear()
    third = open_album(corpus, PictureSizes(size=2), folder=folder)
    assert len(opened) == 4
    assert third.pictures.shape == (4, 3, 2, 2)


@pytest.mark.parametrize("damage", [lambda f: os.truncate(f, 100), lambda f: f.unlink()])
def test_a_damaged_array_is_made_again(
    damage: Callable[[Path], None], corpus: Corpus, opened: list[Path], tmp_path: Path
) -> None:
    first = open_album(corpus, SIZES, folder=None)
    open_album(corpus, SIZES, folder=tmp_path / "cache")
    damage(tmp_path / "cache" / first.fingerprint / "pictures.npy")
    opened.clear()
    assert same(open_album(corpus, SIZES, folder=tmp_path / "cache"), first)
    assert len(opened) == 4


@pytest.mark.parametrize("folder", [None, "cache"])
def test_a_wrong_picture_is_told_at_the_line_that_names_it(
    folder: str | None, corpus: Corpus, tmp_path: Path
) -> None:
    cache = None if folder is None else tmp_path / folder
    lines, picture = tmp_path / "two" / "t.pictures", tmp_path / "two" / "images" / "a.png"
    picture.write_text("hello")
    with pytest.raises(UserError) as mistake:
        open_album(corpus, SIZES, folder=cache)
    assert str(mistake.value) == f"{lines}:2: {picture}: is not a picture; give JPEG or PNG"
    picture.unlink()
    with pytest.raises(UserError) as mistake:
        open_album(corpus, SIZES, folder=cache)
    assert str(mistake.value).startswith(f"{lines}:2: {picture}: no such file; ")
    assert cache is None or list(cache.iterdir()) == []


def encode(corpus: Corpus, vocabulary: Vocabulary, sizes: PictureSizes = SIZES) -> EncodedCorpus:
    read = open_album(corpus, sizes, folder=None)
    return encode_corpus(corpus, read, vocabulary, max_length=60, folder=None)


def test_a_batch_holds_the_pictures_of_its_captions(corpus: Corpus, vocabulary: Vocabulary) -> None:
    encoded = encode(corpus, vocabulary)
    rows = np.array([4, 0, 2])
    batch = make_batch(encoded, rows, (None, vocabulary.specials))
    assert (batch.source.dtype, batch.source.shape) == (torch.uint8, (3, 3, 4, 4))
    assert batch.source_mask_bs.tolist() == [[True]] * 3
    pairs = list(corpus.pairs())
    for row, picture, ids in zip(rows, batch.source, batch.target_out_bt, strict=True):
        assert (picture == shade(Path(pairs[row][0]))).all()
        assert vocabulary.decode(ids.tolist()) == pairs[row][1]


def test_the_budget_counts_captions_alone(corpus: Corpus, vocabulary: Vocabulary) -> None:
    encoded = encode(corpus, vocabulary)
    assert encoded.source_lengths.tolist() == [1] * 5
    longest = int(encoded.target_lengths.max()) + 1
    batches = plan_epoch(
        encoded.source_lengths, encoded.target_lengths, batch_tokens=longest, seed=1, epoch=0
    )
    assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2, 3, 4]
    for batch in batches:
        assert len(batch) * (encoded.target_lengths[batch].max() + 1) <= longest


def test_a_line_without_a_picture_is_left_out_and_counted(
    corpus: Corpus, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    lines = tmp_path / "one" / "t.pictures"
    write_lines(lines, ["images/a.png", "  ", " images/b.png"])
    encoded = encode(corpus, vocabulary)
    assert str(encoded.report) == "5 pairs read, 4 kept; 1 with an empty side (line 2)"
    assert encoded.lines.tolist() == [0, 2, 3, 4]
    for file in corpus.files:
        write_lines(file, [""])
    with pytest.raises(UserError, match=r"t.pictures: names no picture; "):
        open_album(corpus, SIZES, folder=None)


def test_names_and_captions_in_one_file_are_relative_to_it(corpus: Corpus, tmp_path: Path) -> None:
    table = tmp_path / "two" / "t.tsv"
    table.write_text("images/a.png\tA dog.\nimages/d.png\tA cat.\n", encoding="utf-8")
    tabbed = resolve(table, "pictures", "en", pictures=True)
    with pytest.raises(UserError) as mistake:
        open_album(tabbed, SIZES, folder=None)
    assert str(mistake.value).startswith(f"{table}:2: {tmp_path / 'two' / 'images' / 'd.png'}: no")


def write_maps(folder: Path, *dtypes: type) -> Corpus:
    for number, dtype in enumerate(dtypes):
        np.save(folder / f"{number}.npy", np.full((2, 3), number + 0.5, dtype))
    write_lines(folder / "m.maps", [f"{number}.npy" for number in range(len(dtypes))])
    write_lines(folder / "m.en", CAPTIONS[: len(dtypes)])
    return resolve(folder / "m", "maps", "en", pictures=True)


def test_narrow_feature_maps_are_kept_narrow_and_handed_out_wide(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    encoded = encode(write_maps(tmp_path, np.float16, np.float16), vocabulary, MAPS)
    assert encoded.pictures is not None and encoded.pictures.dtype == np.float16
    batch = make_batch(encoded, np.array([1, 0]), (None, vocabulary.specials))
    assert batch.source.dtype == torch.float32
    assert batch.source.tolist() == [[[1.5] * 3] * 2, [[0.5] * 3] * 2]


def test_feature_maps_are_of_one_type(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"m.maps:2: .*1.npy: holds float32, .* hold float16; save"):
        open_album(write_maps(tmp_path, np.float16, np.float32), MAPS, folder=None)


def test_captions_can_be_cut_anew_beside_their_pictures(
    corpus: Corpus, vocabulary: Vocabulary
) -> None:
    encoded = encode(corpus, vocabulary)
    sampled = sample_corpus(encoded, None, vocabulary, alpha=0.1, nbest=-1, seed=3)
    assert sampled.pictures is encoded.pictures
    for row in range(5):
        assert np.array_equal(sampled.source(row), encoded.source(row))
        ids = sampled.target(row).tolist(), encoded.target(row).tolist()
        assert vocabulary.decode(ids[0]) == vocabulary.decode(ids[1])
    assert any(len(sampled.target(row)) != len(encoded.target(row)) for row in range(5))
