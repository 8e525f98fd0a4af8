"""Finding the files of a corpus: patterns, sides, shards that lack one."""

import gzip
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nmt.data.corpus import resolve
from nmt.data.shards import find_shards
from nmt.errors import UserError


def file(path: Path, content: bytes = b"x\n") -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def names(spec: Path) -> list[tuple[str, ...]]:
    return [tuple(path.name for path in shard) for shard in find_shards(str(spec), "de", "en")]


def error_of(spec: Path) -> str:
    with pytest.raises(UserError) as raised:
        find_shards(str(spec), "de", "en")
    return str(raised.value)


@pytest.mark.parametrize("ending", ["", ".de", ".en", ".de.gz", ".en.gz"])
def test_a_pattern_of_one_side_or_none_means_both_sides(tmp_path: Path, ending: str) -> None:
    for number in ("10", "2"):
        file(tmp_path / f"part-{number}.de.gz")
        file(tmp_path / f"part-{number}.en.gz")
    file(tmp_path / "part-1.de")
    file(tmp_path / "part-1.en.gz")
    file(tmp_path / "part-1.fr")
    (tmp_path / "part-3.de").mkdir()
    assert names(tmp_path / f"part-*{ending}") == [
        ("part-1.de", "part-1.en.gz"),
        ("part-10.de.gz", "part-10.en.gz"),
        ("part-2.de.gz", "part-2.en.gz"),
    ]


@pytest.mark.parametrize("name", ["part-*", "part-1"])
def test_where_a_file_is_there_twice_the_form_that_is_named_is_taken(
    tmp_path: Path, name: str
) -> None:
    for ending in ("de", "en", "de.gz", "en.gz"):
        file(tmp_path / f"part-1.{ending}")
    plain, packed = ("part-1.de", "part-1.en"), ("part-1.de.gz", "part-1.en.gz")
    for ending, shard in (("", plain), (".en", plain), (".de.gz", packed), (".en.gz", packed)):
        assert names(tmp_path / f"{name}{ending}") == [shard]


def test_a_name_that_ends_like_a_side_may_still_be_that_of_both(tmp_path: Path) -> None:
    for ending in ("de", "en"):
        file(tmp_path / f"news.de.{ending}")
        file(tmp_path / f"more.{ending}")
    assert names(tmp_path / "news.de") == [("news.de.de", "news.de.en")]
    assert names(tmp_path / "n*.de") == [("news.de.de", "news.de.en")]
    assert names(tmp_path / "more.de") == [("more.de", "more.en")]


def test_tables_are_found_plain_and_packed(tmp_path: Path) -> None:
    file(tmp_path / "2.tsv.gz")
    file(tmp_path / "1.tsv")
    assert names(tmp_path / "*.tsv") == names(tmp_path / "*.tsv.gz") == [("1.tsv",), ("2.tsv.gz",)]
    assert names(tmp_path / "2.tsv") == [("2.tsv.gz",)]


def test_brackets_in_names_of_folders_and_files_are_no_pattern(tmp_path: Path) -> None:
    folder = tmp_path / "corpus [1]"
    for ending in ("de", "en"):
        file(folder / f"part-1.{ending}")
        file(folder / f"a[b].{ending}")
        file(folder / f"ab.{ending}")
    assert names(folder / "part-*") == [("part-1.de", "part-1.en")]
    assert names(folder / "a[b]") == [("a[b].de", "a[b].en")]
    assert names(tmp_path / "corpus*" / "a[bc]") == [("ab.de", "ab.en")]


@pytest.mark.parametrize(("there", "missing"), [("de", "en"), ("en", "de")])
def test_shards_without_their_other_side_are_named(
    tmp_path: Path, there: str, missing: str
) -> None:
    for number in range(7):
        file(tmp_path / f"part-{number}.{there}.gz")
        if number < 2:
            file(tmp_path / f"part-{number}.{missing}")
    named = ", ".join(f"{tmp_path}/part-{number}.{missing}" for number in (2, 3, 4))
    assert error_of(tmp_path / "part-*") == (
        f"{tmp_path}/part-*: 2 shards have both sides, but there is no {named} and 2 more, "
        "plain or .gz; add what is missing or remove the other side"
    )


def test_a_pattern_without_a_match_is_an_error(tmp_path: Path) -> None:
    for spec in ("part-*", "part-*.de.gz"):
        message = error_of(tmp_path / spec)
        assert message == (
            f"{tmp_path}/{spec}: no file matches; looked for {tmp_path}/part-*.de or "
            f"{tmp_path}/part-*.en, plain or .gz"
        )


def test_a_file_named_after_one_side_that_is_missing_is_told(tmp_path: Path) -> None:
    file(tmp_path / "train.de.gz")
    for spec in ("train", "train.de", "train.de.gz", "train.en"):
        assert error_of(tmp_path / spec) == (
            f"{tmp_path}/train.en: no such file, nor train.en.gz; similar there: train.de.gz"
        )
    assert error_of(tmp_path / "none.de.gz").startswith(f"{tmp_path}/none.de: no such file, nor")


def test_a_shard_of_unequal_sides_is_told_with_both_counts(tmp_path: Path) -> None:
    for number, (sources, targets) in enumerate([(3, 3), (4, 5)]):
        file(tmp_path / f"part-{number}.de", b"x\n" * sources)
        file(tmp_path / f"part-{number}.en.gz", b"y\n" * targets)
    with pytest.raises(UserError) as raised:
        list(resolve(tmp_path / "part-*", "de", "en").pairs())
    assert str(raised.value) == (
        f"{tmp_path}/part-1.de: 4 lines, but {tmp_path}/part-1.en.gz has 5; "
        "line by line, the two must be translations of each other"
    )


@given(
    sizes=st.lists(st.integers(0, 5), min_size=1, max_size=12),
    packed=st.lists(st.booleans(), min_size=24, max_size=24),
)
def test_a_text_in_shards_is_the_text_whole(sizes: list[int], packed: list[bool]) -> None:
    every, form = [], iter(packed)
    with TemporaryDirectory() as folder:
        for number, size in enumerate(sizes):
            pairs = [(f"s{number}.{i}", f"t{number}.{i}") for i in range(size)]
            every += pairs
            for side, ending in enumerate(("de", "en")):
                text = "".join(f"{pair[side]}\n" for pair in pairs).encode()
                file(Path(folder) / f"part-{number:02d}.{ending}{'.gz' * next(form)}", text)
        corpus = resolve(Path(folder) / "part-*.de", "de", "en")
        assert list(corpus.pairs()) == every
        assert len(corpus.parts) == len(sizes)
