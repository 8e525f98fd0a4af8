"""Vocabulary files of every kind, made from one small text."""

from collections.abc import Callable
from pathlib import Path

import pytest

TEXT = ["Ein Mann liest.", "Eine Frau schläft im Garten.", "Ein  Mädchen wartet ."] * 4
CODES = "#version: 0.2\n" + "\n".join(
    [
        "E i",
        "Ei n</w>",
        "Ei n",
        "M a",
        "n n</w>",
        "Ma nn</w>",
        "l i",
        "li e",
        "e s",
        "w a",
        "t .</w>",
    ]
)


@pytest.fixture(scope="session")
def tokenizer_json(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that trains a tokenizer: byte-level, unigram or WordPiece."""
    tokenizers = pytest.importorskip("tokenizers")
    models, trainers, decoders = tokenizers.models, tokenizers.trainers, tokenizers.decoders
    pre = tokenizers.pre_tokenizers
    folder = tmp_path_factory.mktemp("tokenizers")

    def train(kind: str) -> Path:
        quiet = {"show_progress": False}
        if kind == "byte-level":
            tokenizer = tokenizers.Tokenizer(models.BPE())
            tokenizer.pre_tokenizer = pre.ByteLevel(add_prefix_space=True)
            tokenizer.decoder = decoders.ByteLevel()
            trainer = trainers.BpeTrainer(
                vocab_size=290,
                special_tokens=["<|endoftext|>"],
                initial_alphabet=pre.ByteLevel.alphabet(),
                **quiet,
            )
        elif kind == "unigram":
            tokenizer = tokenizers.Tokenizer(models.Unigram())
            tokenizer.pre_tokenizer = pre.Metaspace()
            tokenizer.decoder = decoders.Metaspace()
            trainer = trainers.UnigramTrainer(
                vocab_size=50,
                special_tokens=["<unk>", "<s>", "</s>"],
                unk_token="<unk>",
                **quiet,
            )
        else:
            tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
            tokenizer.pre_tokenizer = pre.WhitespaceSplit()
            tokenizer.decoder = decoders.WordPiece(cleanup=False)
            special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
            trainer = trainers.WordPieceTrainer(vocab_size=60, special_tokens=special, **quiet)
        tokenizer.train_from_iterator(TEXT, trainer)
        path = folder / f"{kind}.json"
        tokenizer.save(str(path))
        return path

    return train
