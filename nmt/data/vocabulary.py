"""Pieces and their ids: training, loading and use of SentencePiece models."""

import hashlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import sentencepiece as spm

from nmt.data.learning import VocabularyType, learn_model
from nmt.errors import UserError
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.storage.run_dir import RunDir

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

    def __reduce__(self) -> tuple[type["Vocabulary"], tuple[bytes]]:
        """As its model, to another process."""
        return Vocabulary, (self._model,)

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
        # By itself SentencePiece would take all cores, also in each of several processes.
        ids: list[list[int]] = self._processor.encode(texts, out_type=int, num_threads=1)
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

    @property
    def samples(self) -> bool:
        """Whether its pieces have probabilities, so that a word has cuts to choose among."""
        try:
            self._processor.nbest_encode("a", nbest_size=2, out_type=int)
        except RuntimeError:
            return False
        return True

    def log_probs(self) -> list[float]:
        """Log probability of each piece; -inf for those without text, the unknown and bytes."""
        processor = self._processor
        without = (processor.is_control, processor.is_unknown, processor.is_byte)
        known: list[float] = [
            -math.inf if any(test(i) for test in without) else processor.get_score(i)
            for i in range(processor.get_piece_size())
        ]
        return known + [-math.inf] * len(self._extra)

    def cuts(self, ids: list[int], count: int) -> list[list[int]]:
        """The likeliest cuts, at most `count`, of the word that these pieces make up.

        Only the given one where SentencePiece reads the word's text as another word. Cuts with
        unknown pieces may be among them.
        """
        found: list[list[int]] = self._processor.nbest_encode(
            self.decode(ids), nbest_size=count, out_type=int
        )
        same = found and "".join(self.pieces(found[0])) == "".join(self.pieces(ids))
        return found if same else [ids]


Vocabularies = tuple[Vocabulary | None, Vocabulary]
"""Source and target vocabulary; images have no source vocabulary."""


def load_vocabularies(run: RunDir) -> Vocabularies:
    """Load the source and target vocabulary of a run; the same object twice if they are joint.

    Raises:
        UserError: the directory is not a run, or a vocabulary cannot be read
    """
    if not run.vocabulary.is_dir():
        raise UserError("is not a run: it has no vocabulary", str(run.path))
    if run.joint_vocabulary.is_file():
        joint = Vocabulary.load(run.joint_vocabulary)
        return joint, joint
    target = Vocabulary.load(run.target_vocabulary)
    if not run.source_vocabulary.is_file() and run.experiment().data.pictures is not None:
        return None, target
    return Vocabulary.load(run.source_vocabulary), target


def save_vocabularies(run: RunDir, vocabularies: Vocabularies) -> None:
    """Write the vocabularies of a run, all or none."""
    source, target = vocabularies
    with staging_dir(run.path, run.vocabulary.name) as staging:
        if source is target:
            target.save(staging / run.joint_vocabulary.name)
        else:
            if source is not None:
                source.save(staging / run.source_vocabulary.name)
            target.save(staging / run.target_vocabulary.name)
        publish_dir(staging, run.vocabulary)
