"""Finding the shards of a corpus: patterns, and shards with a missing side."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.data.corpus import find_corpus
from nmt.data.shards import find_shards
from nmt.errors import UserError


def write_file(path: Path, content: bytes = b"x\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def shard_names(spec: Path) -> list[tuple[str, ...]]:
    return [tuple(path.name for path in shard) for shard in find_shards(str(spec), "de", "en")]


def error_of(spec: Path) -> str:
    with pytest.raises(UserError) as raised:
        find_shards(str(spec), "de", "en")
    return str(raised.value)


@pytest.mark.parametrize("ending", ["", ".de", ".en", ".de.gz", ".en.gz"])
def test_pattern_with_or_without_side_matches_both_sides(tmp_path: Path, ending: str) -> None:
    for number in ("10", "2"):
        write_file(tmp_path / f"part-{number}.de.gz")
        write_file(tmp_path / f"part-{number}.en.gz")
    write_file(tmp_path / "part-1.de")
    write_file(tmp_path / "part-1.en.gz")
    write_file(tmp_path / "part-1.fr")
    (tmp_path / "part-3.de").mkdir()
    assert shard_names(tmp_path / f"part-*{ending}") == [
        ("part-1.de", "part-1.en.gz"),
        ("part-10.de.gz", "part-10.en.gz"),
        ("part-2.de.gz", "part-2.en.gz"),
    ]


@pytest.mark.parametrize("name", ["part-*", "part-1"])
def test_file_with_requested_compression_is_preferred(tmp_path: Path, name: str) -> None:
    for ending in ("de", "en", "de.gz", "en.gz"):
        write_file(tmp_path / f"part-1.{ending}")
    plain, compressed = ("part-1.de", "part-1.en"), ("part-1.de.gz", "part-1.en.gz")
    for ending, shard in (
        ("", plain),
        (".en", plain),
        (".de.gz", compressed),
        (".en.gz", compressed),
    ):
        assert shard_names(tmp_path / f"{name}{ending}") == [shard]


def test_name_with_suffix_of_side_may_be_name_of_both(tmp_path: Path) -> None:
    for ending in ("de", "en"):
        write_file(tmp_path / f"news.de.{ending}")
        write_file(tmp_path / f"more.{ending}")
    assert shard_names(tmp_path / "news.de") == [("news.de.de", "news.de.en")]
    assert shard_names(tmp_path / "n*.de") == [("news.de.de", "news.de.en")]
    assert shard_names(tmp_path / "more.de") == [("more.de", "more.en")]


def test_tsv_files_are_found_plain_and_compressed(tmp_path: Path) -> None:
    write_file(tmp_path / "2.tsv.gz")
    write_file(tmp_path / "1.tsv")
    assert (
        shard_names(tmp_path / "*.tsv")
        == shard_names(tmp_path / "*.tsv.gz")
        == [("1.tsv",), ("2.tsv.gz",)]
    )
    assert shard_names(tmp_path / "2.tsv") == [("2.tsv.gz",)]


def test_brackets_in_existing_names_are_literal(tmp_path: Path) -> None:
    directory = tmp_path / "corpus [1]"
    for ending in ("de", "en"):
        write_file(directory / f"part-1.{ending}")
        write_file(directory / f"a[b].{ending}")
        write_file(directory / f"ab.{ending}")
    assert shard_names(directory / "part-*") == [("part-1.de", "part-1.en")]
    assert shard_names(directory / "a[b]") == [("a[b].de", "a[b].en")]
    assert shard_names(tmp_path / "corpus*" / "a[bc]") == [("ab.de", "ab.en")]


@pytest.mark.parametrize(("present", "missing"), [("de", "en"), ("en", "de")])
def test_shards_with_missing_side_raise_user_error(
    tmp_path: Path, present: str, missing: str
) -> None:
    for number in range(7):
        write_file(tmp_path / f"part-{number}.{present}.gz")
        if number < 2:
            write_file(tmp_path / f"part-{number}.{missing}")
    named = ", ".join(f"{tmp_path}/part-{number}.{missing}" for number in (2, 3, 4))
    assert error_of(tmp_path / "part-*") == (
        f"{tmp_path}/part-*: 2 shards have both sides, but {named} and 2 more not found, "
        "plain or compressed; add the missing files or remove their other side"
    )


def test_pattern_without_match_raises_user_error(tmp_path: Path) -> None:
    for spec in ("part-*", "part-*.de.gz"):
        message = error_of(tmp_path / spec)
        assert message == (
            f"{tmp_path}/{spec}: no file matches; give a pattern that matches "
            f"{tmp_path}/part-*.de or {tmp_path}/part-*.en, plain or compressed"
        )


def test_missing_side_error_names_expected_file(tmp_path: Path) -> None:
    write_file(tmp_path / "train.de.gz")
    for spec in ("train", "train.de", "train.de.gz", "train.en"):
        assert error_of(tmp_path / spec) == (
            f"{tmp_path}/train.en: not found, plain or compressed; similar names: train.de.gz"
        )
    assert error_of(tmp_path / "none.de.gz").startswith(f"{tmp_path}/none.de: not found, plain or")


def test_unequal_shard_error_names_both_files_and_counts(tmp_path: Path) -> None:
    for number, (sources, targets) in enumerate([(3, 3), (4, 5)]):
        write_file(tmp_path / f"part-{number}.de", b"x\n" * sources)
        write_file(tmp_path / f"part-{number}.en.gz", b"y\n" * targets)
    with pytest.raises(UserError) as raised:
        list(find_corpus(tmp_path / "part-*", "de", "en").pairs())
    assert str(raised.value) == (
        f"{tmp_path}/part-1.de: has 4 lines, but {tmp_path}/part-1.en.gz has 5; "
        "give files whose lines are translations of each other"
    )


@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    compressed=st.lists(st.booleans(), min_size=24, max_size=24),
)
def test_shards_contain_all_pairs_in_order(sizes: list[int], compressed: list[bool]) -> None:
    expected, is_compressed = [], iter(compressed)
    with TemporaryDirectory() as directory:
        for number, size in enumerate(sizes):
            pairs = [(f"s{number}.{i}", f"t{number}.{i}") for i in range(size)]
            expected += pairs
            for side, ending in enumerate(("de", "en")):
                text = "".join(f"{pair[side]}\n" for pair in pairs).encode()
                write_file(
                    Path(directory) / f"part-{number:02d}.{ending}{'.gz' * next(is_compressed)}",
                    text,
                )
        corpus = find_corpus(Path(directory) / "part-*.de", "de", "en")
        assert list(corpus.pairs()) == expected
        assert len(corpus.parts[0].shards) == len(sizes)
