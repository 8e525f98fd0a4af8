"""Pieces and their ids: training, loading and use of SentencePiece models."""

import hashlib
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import sentencepiece as spm

from nmt.data.learning import VocabularyType, learn_model
from nmt.errors import UserError

# The generator is one for the process and read when a thread first samples: one caller at a time.
_sampling = threading.Lock()

spm.set_min_log_level(3)


class Specials(NamedTuple):
    """Ids of the pieces that stand for no text: padding, begin and end of a sentence."""

    pad: int
    bos: int
    eos: int


class Vocabulary:
    """The pieces of one or both languages, numbered from 0.

    A model made elsewhere may lack padding, begin or end of sentence: those get ids after its last
    piece, so `len` counts them.

    Attributes:
        pad, bos, eos, unk: ids of padding, begin and end of a sentence, and what is unknown
        fingerprint: sha256 of the serialized model, in hexadecimal
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self._processor = spm.SentencePieceProcessor(model_proto=model)
        self.fingerprint = hashlib.sha256(model).hexdigest()
        self._extra: dict[int, str] = {}
        self.pad = self._special(self._processor.pad_id(), "<pad>")
        self.bos = self._special(self._processor.bos_id(), "<s>")
        self.eos = self._special(self._processor.eos_id(), "</s>")
        self.unk = self._processor.unk_id()

    def _special(self, number: int, piece: str) -> int:
        if number >= 0:
            return number
        number = len(self)
        self._extra[number] = piece
        return number

    @classmethod
    def train(
        cls,
        lines: Iterable[str],
        *,
        size: int,
        type: VocabularyType = "unigram",
        byte_fallback: bool = False,
        normalization: str = "nmt_nfkc",
        character_coverage: float = 1.0,
    ) -> "Vocabulary":
        """Learn a vocabulary from text; the same text and options give the same bytes.

        Ids: padding 0, begin 1, end 2, unknown 3.

        Args:
            lines: the text, one sentence each; read once
            size: number of pieces, specials included; for `char` no more than that
            type: how text is cut: `unigram`, `bpe` or `char`
            byte_fallback: write characters outside the vocabulary as bytes, not as unknown
            normalization: a rule of SentencePiece: nmt_nfkc, nfkc, nmt_nfkc_cf, nfkc_cf, identity
            character_coverage: share of the text's characters that become pieces, 0.98 to 1

        Raises:
            UserError: the size does not suit the text, there is no text, or an option is unknown
        """
        return cls(
            learn_model(
                lines,
                size=size,
                type=type,
                byte_fallback=byte_fallback,
                normalization=normalization,
                character_coverage=character_coverage,
            )
        )

    @classmethod
    def load(cls, path: Path | str) -> "Vocabulary":
        """Read a SentencePiece model; raises UserError where there is none."""
        try:
            model = Path(path).read_bytes()
        except OSError as error:
            message = f"cannot read the vocabulary: {error.strerror}; give a SentencePiece model"
            raise UserError(message, str(path)) from error
        try:
            if not model:
                raise RuntimeError("empty file")
            return cls(model)
        except RuntimeError as error:
            message = "is not a SentencePiece model; give a .model file that SentencePiece wrote"
            raise UserError(message, str(path)) from error

    def save(self, path: Path | str) -> None:
        """Write the model, as SentencePiece's own tools read it; makes the folder."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self._model)

    def __len__(self) -> int:
        return self._processor.get_piece_size() + len(self._extra)

    @property
    def specials(self) -> Specials:
        """What batching needs to know of a vocabulary."""
        return Specials(self.pad, self.bos, self.eos)

    def encode(self, text: str) -> list[int]:
        """Ids of the text's pieces, without begin and end."""
        return self.encode_all([text])[0]

    def encode_all(self, texts: list[str]) -> list[list[int]]:
        """Ids of each text's pieces, without begin and end."""
        ids: list[list[int]] = self._processor.encode(texts, out_type=int)
        return ids

    def decode(self, ids: Iterable[int]) -> str:
        """Raw text of the ids; padding, begin and end are silent, broken bytes become U+FFFD."""
        text: str = self._processor.decode([i for i in map(int, ids) if i not in self._extra])
        return text

    def pieces(self, ids: Iterable[int]) -> list[str]:
        """The piece of each id, specials included."""
        return [self._extra.get(i) or self._processor.id_to_piece(i) for i in map(int, ids)]

    def join(self, pieces: Iterable[str]) -> str:
        """Raw text of pieces, which need not be in the vocabulary."""
        text: str = self._processor.decode(list(pieces))
        return text

    def sample_all(
        self, texts: list[str], *, alpha: float, nbest: int = -1, seed: int
    ) -> list[list[int]]:
        """Ids of a random cut of each text (subword regularisation), a function of the arguments.

        unigram: P(pieces) ~ P_unigram(pieces)**alpha over the `nbest` likeliest cuts, or over all
        for -1 (Kudo 2018, 3.3). bpe: each merge is left out with probability alpha, `nbest` does
        not matter (Provilkov et al. 2020).

        Raises:
            UserError: the vocabulary knows one cut only (char), or nbest is not -1 or 2 to 512
        """
        if nbest != -1 and not 2 <= nbest <= 512:
            raise UserError(f"nbest is {nbest}; give -1 for all cuts, or 2 to 512")

        def sample() -> list[list[int]]:
            ids: list[list[int]] = self._processor.encode(
                texts,
                enable_sampling=True,
                alpha=alpha,
                nbest_size=nbest,
                num_threads=1,
            )
            return ids

        try:
            return _in_seeded_thread(sample, seed)
        except RuntimeError as error:
            message = "this vocabulary has one way to cut a text; sampling needs unigram or bpe"
            raise UserError(message) from error


def _in_seeded_thread(work: Callable[[], list[list[int]]], seed: int) -> list[list[int]]:
    """The result of `work` in a new thread, whose generator starts at the seed."""
    with _sampling, ThreadPoolExecutor(max_workers=1) as new_thread:
        # 2**32 - 1 is SentencePiece's word for no seed: the last one, or the machine's noise.
        spm.set_random_generator_seed(seed % (2**32 - 1))
        return new_thread.submit(work).result()
