"""A corpus in shards, generated, and encoded by the real command."""

from pathlib import Path

import pytest

from measures.sharded_corpus import SHARDS, make_shards, shard_rows
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from tests.commands import PHRASES, lines_of

PAIRS = 400
SMALL = [
    f"model.{key}=8" for key in ("embedding_size", "encoder.hidden_size", "decoder.hidden_size")
]


def test_shards_are_generated_once(tmp_path: Path) -> None:
    pattern = make_shards(PHRASES, ("de", "en"), tmp_path, PAIRS)
    files = sorted(pattern.parent.glob("part-*.gz"))
    assert len(files) == 2 * SHARDS
    before = [file.stat().st_mtime_ns for file in files]
    assert make_shards(PHRASES, ("de", "en"), tmp_path, PAIRS) == pattern
    assert [file.stat().st_mtime_ns for file in files] == before


@pytest.mark.slow
def test_all_rows_are_measured(tmp_path: Path) -> None:
    lines = [line for side in ("de", "en") for line in lines_of(PHRASES.with_suffix(f".{side}"))]
    vocabulary = tmp_path / "vocabulary.model"
    SentencePieceVocabulary.train(lines, size=100).save(vocabulary)
    rows = shard_rows(
        PHRASES, ("de", "en"), vocabulary, tmp_path, pairs=PAIRS, updates=2, overrides=SMALL
    )
    assert [row.unit for row in rows] == ["lines/s", "s", "GB", "GB"]
    assert all(row.values[0] > 0 for row in rows[1:])
