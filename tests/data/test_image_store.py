"""Image stores: numbering, cache, and batches of images with their captions."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nmt.data.batch_plan import plan_epoch
from nmt.data.corpus import Corpus, find_corpus
from nmt.data.images import ImageSize, ImageStore, open_image_store, read_image
from nmt.data.loader import make_batch
from nmt.data.subword_regularization import sample_segmentations
from nmt.data.token_corpus import Array, TokenCorpus
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError

SIZE = ImageSize(size=4)
MAPS = ImageSize(features=3, positions=2)
CAPTIONS = ["A man reads.", "A dog.", "A woman sleeps in the garden.", "The dog waits."]


def paint(folder: Path, name: str, shade: int) -> None:
    """Write an image of one shade of gray."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 8), (shade,) * 3).save(folder / "images" / name)


def write_lines(file: Path, lines: list[str]) -> None:
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    """Write two shards in two directories: a.png differs between them, b.png is named twice."""
    for folder, names in (("one", ["a.png", "b.png"]), ("two", ["a.png", "c.png"])):
        for name in names:
            paint(tmp_path / folder, name, 10 * ord(name[0]) % 251 + len(folder + name))
    paint(tmp_path / "two", "a.png", 77)
    write_lines(tmp_path / "one" / "t.pictures", ["images/a.png", "images/b.png", "images/b.png"])
    write_lines(tmp_path / "one" / "t.en", CAPTIONS[:3])
    write_lines(tmp_path / "two" / "t.pictures", ["images/c.png", "images/a.png"])
    write_lines(tmp_path / "two" / "t.en", CAPTIONS[2:])
    specs = [tmp_path / "one" / "t", tmp_path / "two" / "t"]
    return find_corpus(specs, "pictures", "en", images=True)


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Record the image files that are read."""
    files: list[Path] = []

    def spy(file: Path, size: ImageSize) -> Array:
        files.append(file)
        return read_image(file, size)

    monkeypatch.setattr("nmt.data.images.read_image", spy)
    return files


def shade(path: Path) -> int:
    with Image.open(path) as image:
        value = image.convert("L").getpixel((0, 0))
    assert isinstance(value, int)
    return value


def image_names(corpus: Corpus) -> list[str]:
    return [source for source, _ in corpus.pairs()]


def test_image_named_twice_has_one_row(corpus: Corpus, read_files: list[Path]) -> None:
    store = open_image_store(corpus, SIZE, cache_dir=None)
    assert len(store) == len(read_files) == 4
    assert store.images.shape == (4, 3, 4, 4)
    numbers = store.encode_batch(image_names(corpus))
    assert numbers == [[0], [1], [1], [2], [3]]
    for name, (number,) in zip(image_names(corpus), numbers, strict=True):
        assert (store.images[number] == shade(Path(name))).all()


def same(one: ImageStore, other: ImageStore) -> bool:
    return np.array_equal(one.images, other.images) and one.fingerprint == other.fingerprint


def test_cached_store_reads_no_image(
    corpus: Corpus, read_files: list[Path], tmp_path: Path
) -> None:
    first = open_image_store(corpus, SIZE, cache_dir=tmp_path / "cache")
    assert len(read_files) == 4
    read_files.clear()
    second = open_image_store(corpus, SIZE, cache_dir=tmp_path / "cache")
    assert read_files == []
    assert same(first, second)
    assert same(first, open_image_store(corpus, SIZE, cache_dir=None))
    assert isinstance(second.images.base, np.memmap)


def test_changed_image_or_size_is_read_again(
    corpus: Corpus, read_files: list[Path], tmp_path: Path
) -> None:
    cache_dir = tmp_path / "cache"
    first = open_image_store(corpus, SIZE, cache_dir=cache_dir)
    file = Path(image_names(corpus)[0])
    later = file.stat().st_mtime_ns + 1
    paint(file.parents[1], file.name, 200)
    os.utime(file, ns=(later, later))
    read_files.clear()
    second = open_image_store(corpus, SIZE, cache_dir=cache_dir)
    assert len(read_files) == 4
    assert (second.images[0] == 200).all()
    assert second.fingerprint != first.fingerprint
    read_files.clear()
    third = open_image_store(corpus, ImageSize(size=2), cache_dir=cache_dir)
    assert len(read_files) == 4
    assert third.images.shape == (4, 3, 2, 2)


@pytest.mark.parametrize("corrupt", [lambda f: os.truncate(f, 100), lambda f: f.unlink()])
def test_corrupt_cache_is_replaced(
    corrupt: Callable[[Path], None], corpus: Corpus, read_files: list[Path], tmp_path: Path
) -> None:
    first = open_image_store(corpus, SIZE, cache_dir=None)
    open_image_store(corpus, SIZE, cache_dir=tmp_path / "cache")
    corrupt(tmp_path / "cache" / first.fingerprint / "pictures.npy")
    read_files.clear()
    assert same(open_image_store(corpus, SIZE, cache_dir=tmp_path / "cache"), first)
    assert len(read_files) == 4


@pytest.mark.parametrize("cache", [None, "cache"])
def test_invalid_image_error_names_the_line(
    cache: str | None, corpus: Corpus, tmp_path: Path
) -> None:
    cache_dir = None if cache is None else tmp_path / cache
    lines, image = tmp_path / "two" / "t.pictures", tmp_path / "two" / "images" / "a.png"
    image.write_text("hello")
    with pytest.raises(UserError) as caught:
        open_image_store(corpus, SIZE, cache_dir=cache_dir)
    assert str(caught.value) == f"{lines}:2: {image}: is not an image; give JPEG or PNG"
    image.unlink()
    with pytest.raises(UserError) as caught:
        open_image_store(corpus, SIZE, cache_dir=cache_dir)
    assert str(caught.value).startswith(f"{lines}:2: {image}: not found; ")
    assert cache_dir is None or list(cache_dir.iterdir()) == []


def encode(corpus: Corpus, vocabulary: Vocabulary, size: ImageSize = SIZE) -> TokenCorpus:
    store = open_image_store(corpus, size, cache_dir=None)
    return tokenize_corpus(corpus, store, vocabulary, max_length=60, cache_dir=None)


def test_batch_has_the_images_of_its_captions(corpus: Corpus, vocabulary: Vocabulary) -> None:
    tokenized = encode(corpus, vocabulary)
    rows = np.array([4, 0, 2])
    batch = make_batch(tokenized, rows, (None, vocabulary.special_tokens))
    assert (batch.source.dtype, batch.source.shape) == (torch.uint8, (3, 3, 4, 4))
    assert batch.source_mask_bs.tolist() == [[True]] * 3
    pairs = list(corpus.pairs())
    for row, image, ids in zip(rows, batch.source, batch.target_out_bt, strict=True):
        assert (image == shade(Path(pairs[row][0]))).all()
        assert vocabulary.decode(ids.tolist()) == pairs[row][1]


def test_batch_size_counts_only_captions(corpus: Corpus, vocabulary: Vocabulary) -> None:
    tokenized = encode(corpus, vocabulary)
    assert tokenized.source_lengths.tolist() == [1] * 5
    longest = int(tokenized.target_lengths.max()) + 1
    batches = plan_epoch(
        tokenized.source_lengths, tokenized.target_lengths, batch_tokens=longest, seed=1, epoch=0
    )
    assert sorted(np.concatenate(batches).tolist()) == [0, 1, 2, 3, 4]
    for batch in batches:
        assert len(batch) * (tokenized.target_lengths[batch].max() + 1) <= longest


def test_lines_without_image_are_filtered_and_counted(
    corpus: Corpus, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    lines = tmp_path / "one" / "t.pictures"
    write_lines(lines, ["images/a.png", "  ", " images/b.png"])
    tokenized = encode(corpus, vocabulary)
    assert str(tokenized.stats) == "5 pairs read, 4 kept; 1 with an empty side (line 2)"
    assert tokenized.lines.tolist() == [0, 2, 3, 4]
    for file in corpus.files:
        write_lines(file, [""])
    with pytest.raises(UserError, match=r"t.pictures: names no image; "):
        open_image_store(corpus, SIZE, cache_dir=None)


def test_names_in_tsv_are_relative_to_its_directory(corpus: Corpus, tmp_path: Path) -> None:
    table = tmp_path / "two" / "t.tsv"
    table.write_text("images/a.png\tA dog.\nimages/d.png\tA cat.\n", encoding="utf-8")
    tabbed = find_corpus(table, "pictures", "en", images=True)
    with pytest.raises(UserError) as caught:
        open_image_store(tabbed, SIZE, cache_dir=None)
    assert str(caught.value).startswith(f"{table}:2: {tmp_path / 'two' / 'images' / 'd.png'}: not")


def write_maps(folder: Path, *dtypes: type) -> Corpus:
    for number, dtype in enumerate(dtypes):
        np.save(folder / f"{number}.npy", np.full((2, 3), number + 0.5, dtype))
    write_lines(folder / "m.maps", [f"{number}.npy" for number in range(len(dtypes))])
    write_lines(folder / "m.en", CAPTIONS[: len(dtypes)])
    return find_corpus(folder / "m", "maps", "en", images=True)


def test_float16_feature_maps_are_stored_as_float16_and_batched_as_float32(
    vocabulary: Vocabulary, tmp_path: Path
) -> None:
    tokenized = encode(write_maps(tmp_path, np.float16, np.float16), vocabulary, MAPS)
    assert tokenized.images is not None and tokenized.images.dtype == np.float16
    batch = make_batch(tokenized, np.array([1, 0]), (None, vocabulary.special_tokens))
    assert batch.source.dtype == torch.float32
    assert batch.source.tolist() == [[[1.5] * 3] * 2, [[0.5] * 3] * 2]


def test_feature_maps_of_different_dtypes_raise_user_error(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"m.maps:2: .*1.npy: has dtype float32, .* have float16; save"
    ):
        open_image_store(write_maps(tmp_path, np.float16, np.float32), MAPS, cache_dir=None)


def test_sampled_segmentations_keep_images(corpus: Corpus, vocabulary: Vocabulary) -> None:
    tokenized = encode(corpus, vocabulary)
    sampled = sample_segmentations(tokenized, None, vocabulary, alpha=0.1, nbest=-1, seed=3)
    assert sampled.images is tokenized.images
    for row in range(5):
        (sampled_source, sampled_target), (source, target) = sampled[row], tokenized[row]
        assert np.array_equal(sampled_source, source)
        ids = sampled_target.tolist(), target.tolist()
        assert vocabulary.decode(ids[0]) == vocabulary.decode(ids[1])
    assert (sampled.target_lengths != tokenized.target_lengths).any()
