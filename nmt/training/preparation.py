"""What training starts from: vocabularies, encoded text, a model."""

import logging
import shutil
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from nmt.config.schema import DataConfig, Experiment, VocabularyConfig
from nmt.data.album import open_album
from nmt.data.cache import encode_corpus
from nmt.data.corpus import Corpus, resolve
from nmt.data.encoded import EncodedCorpus
from nmt.data.learning import draw_lines, learn_model
from nmt.data.pictures import PictureSizes
from nmt.data.sampling import sample_corpus
from nmt.data.stream import Marks, Stream
from nmt.data.vocabulary import Vocabulary
from nmt.data.workers import map_in_order, usable_cores
from nmt.errors import UserError
from nmt.model.saved import (
    MODEL,
    Run,
    Vocabularies,
    put_weights,
    read_tensors,
    whole_checkpoint,
)
from nmt.model.seq2seq import Seq2Seq

log = logging.getLogger("nmt")

SMALLEST = 1024
"""Pieces a batch where the size is yet to be found, and the smallest that is tried then."""


@dataclass(frozen=True)
class Prepared:
    """The text of an experiment, cut and encoded, and its pictures read.

    Attributes:
        source: the source's vocabulary, or what its pictures are
    """

    source: Vocabulary | PictureSizes
    target_vocabulary: Vocabulary
    valid_corpus: Corpus
    train: EncodedCorpus
    valid: EncodedCorpus

    @property
    def source_vocabulary(self) -> Vocabulary | None:
        """None where the source is pictures."""
        return self.source if isinstance(self.source, Vocabulary) else None

    @property
    def specials(self) -> Marks:
        """Marks of source and target."""
        source = self.source_vocabulary
        return None if source is None else source.specials, self.target_vocabulary.specials


def prepare(experiment: Experiment, run: Run | None, *, limit: int | None = None) -> Prepared:
    """Find the text, learn or load the vocabularies, encode.

    Args:
        experiment: what is to be run
        run: where vocabularies and encodings are kept; None keeps them in memory
        limit: training pairs to read; None for all

    Raises:
        UserError: for whatever is wrong with the text
    """
    data = experiment.data
    pictures = PictureSizes.of(data.pictures)
    train, valid = (
        resolve(spec, data.source, data.target, pictures=pictures is not None)
        for spec in (data.train, data.valid)
    )
    train = replace(train, limit=limit)
    source, target = find_vocabularies(experiment, train, run)
    if data.vocabulary.sampling is not None and not all(v.samples for v in (source, target) if v):
        message = "data.vocabulary.sampling needs a vocabulary of type unigram"
        raise UserError(f"{message}, and this one is not; give such a one or remove sampling")
    cache = None if run is None else data.cache or run.folder / "cache"

    def encode(corpus: Corpus) -> EncodedCorpus:
        read = open_album(corpus, pictures, folder=cache) if pictures else source
        assert read is not None
        return encode_corpus(
            corpus,
            read,
            target,
            max_length=data.max_length,
            folder=cache,
            processes=experiment.training.threads or usable_cores(),
        )

    kind = pictures or source
    assert kind is not None
    return Prepared(kind, target, valid, encode(train), encode(valid))


def find_vocabularies(experiment: Experiment, train: Corpus, run: Run | None) -> Vocabularies:
    """The run's vocabularies; for a new run, those of the run it starts from, given or learned.

    Pictures have none, so that the source's is None then.

    Raises:
        UserError: when they cannot be learned or read
    """
    if run is not None and (run.folder / "vocabulary").is_dir():
        return run.vocabularies()
    config = experiment.data.vocabulary
    start_from = experiment.training.start_from
    if start_from is not None:
        found = Run(start_from).vocabularies()
        if found[0] is None and not train.pictures:
            message = "reads pictures and has no vocabulary of the source; start from a run of text"
            raise UserError(message, str(start_from))
    elif config.model is not None:
        found = _load(config.model)
    else:
        found = _learn(config, train)
    if train.pictures:
        found = None, found[1]
    if run is not None:
        _keep(found, run.folder / "vocabulary")
    return found


def _load(files: Path | list[Path]) -> Vocabularies:
    listed = files if isinstance(files, list) else [files]
    loaded = [Vocabulary.load(file) for file in listed]
    return loaded[0], loaded[-1]


def _learn(config: VocabularyConfig, train: Corpus) -> Vocabularies:
    options: dict[str, Any] = {
        "size": config.size,
        "type": config.type,
        "byte_fallback": config.byte_fallback,
        "normalization": config.normalization,
        "character_coverage": config.character_coverage,
    }

    def learn(side: slice) -> Vocabulary:
        text = (line for pair in train.pairs() for line in pair[side])
        lines, total = draw_lines(text, config.lines)
        if len(lines) == total:
            return Vocabulary.train(lines, **options)
        log.info("the vocabulary is learned from %d lines drawn from %d", len(lines), total)
        # SentencePiece takes ten times the memory of a text, and only a process that ends gives it
        # back.
        (model,) = map_in_order(partial(learn_model, **options), [lines], processes=1)
        return Vocabulary(model)

    if train.pictures:
        return None, learn(slice(1, 2))
    if config.joint:
        joint = learn(slice(0, 2))
        return joint, joint
    return learn(slice(0, 1)), learn(slice(1, 2))


def _keep(vocabularies: Vocabularies, folder: Path) -> None:
    source, target = vocabularies
    aside = folder.with_name(".vocabulary.part")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    if source is target:
        target.save(aside / "joint.model")
    else:
        if source is not None:
            source.save(aside / "source.model")
        target.save(aside / "target.model")
    aside.rename(folder)


def make_stream(experiment: Experiment, prepared: Prepared) -> Stream:
    """The training batches of an experiment; with sampling, its text is cut anew each epoch.

    They have `SMALLEST` pieces where their size is yet to be found.
    """
    training, sampling = experiment.training, experiment.data.vocabulary.sampling

    def corpus_of(epoch: int) -> EncodedCorpus:
        if sampling is None:
            return prepared.train
        return sample_corpus(
            prepared.train,
            prepared.source_vocabulary,
            prepared.target_vocabulary,
            alpha=sampling.alpha,
            nbest=sampling.nbest,
            seed=int(np.random.SeedSequence([training.seed, epoch]).generate_state(1)[0]),
        )

    return Stream(
        corpus_of,
        prepared.specials,
        batch_tokens=SMALLEST if training.batch_tokens == "auto" else training.batch_tokens,
        batch_sentences=training.batch_sentences,
        seed=training.seed,
    )


def kept_texts(data: DataConfig, valid: Corpus) -> tuple[list[str], list[str]]:
    """Source and target of the validation text, every line of it."""
    pairs = list(valid.pairs())
    if not pairs:
        raise UserError("the validation text is empty", str(data.valid))
    sources, targets = zip(*pairs, strict=True)
    return list(sources), list(targets)


def start_from(model: Seq2Seq, folder: Path) -> list[str]:
    """Give the model the best weights of another run; warnings about damaged checkpoints.

    Raises:
        UserError: when that run has no whole checkpoint, or one of another model
    """
    checkpoint, warnings = whole_checkpoint(Run(folder), "best")
    put_weights(model, read_tensors(checkpoint / MODEL), str(checkpoint))
    return warnings
