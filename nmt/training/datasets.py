"""Training and validation data of an experiment: text, vocabularies and encoded pairs."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from nmt.config.corpus_options import CorpusOptions, TrainingCorpusOptions
from nmt.config.schema import DataConfig, Experiment
from nmt.config.vocabulary_options import SamplingConfig
from nmt.data.alignments import link_tokens
from nmt.data.corpus import Corpus, find_part
from nmt.data.corpus_weights import WeightedPairs, temperature_weights
from nmt.data.held_out import hold_out
from nmt.data.images import ImageSize, open_image_store
from nmt.data.preparation import UNPREPARED, Preparation
from nmt.data.special_tokens import SpecialTokenPair
from nmt.data.text_coverage import TextCoverage, measure_coverage
from nmt.data.token_corpus import TokenCorpus
from nmt.data.tokenization import tokenize_corpus
from nmt.data.vocabularies.files import load_given_vocabularies
from nmt.data.vocabularies.learning import learn_vocabularies
from nmt.data.vocabularies.saved import load_vocabularies, save_vocabularies
from nmt.data.vocabulary import Vocabularies, Vocabulary
from nmt.distributed.process_group import ProcessGroup
from nmt.errors import OptionError, UserError, option_errors
from nmt.evaluation.alignment_set import AlignmentSet
from nmt.files import is_file
from nmt.parallel import usable_cores
from nmt.storage.run_dir import RunDir
from nmt.training.start_from import start_vocabularies

log = logging.getLogger("nmt")


@dataclass(frozen=True)
class Datasets:
    """Training and validation data of an experiment, encoded.

    Attributes:
        source: vocabulary of the source; the size of the images where the source is images
        target_vocabulary: vocabulary of the target
        train: encoded training pairs
        valid: encoded validation pairs
        train_corpus, valid_corpus: the files of both texts
        preparation: preparation of the text before the vocabularies
    """

    source: Vocabulary | ImageSize
    target_vocabulary: Vocabulary
    train: TokenCorpus
    valid: TokenCorpus
    train_corpus: Corpus
    valid_corpus: Corpus
    preparation: Preparation = UNPREPARED

    @property
    def source_vocabulary(self) -> Vocabulary | None:
        """Return the vocabulary of the source; None where the source is images."""
        return self.source if isinstance(self.source, Vocabulary) else None

    @property
    def special_tokens(self) -> SpecialTokenPair:
        """Return the special tokens of source and target; None for a source of images."""
        source = self.source_vocabulary
        return (
            None if source is None else source.special_tokens,
            self.target_vocabulary.special_tokens,
        )


def prepare_datasets(
    experiment: Experiment, run: RunDir | None, *, limit: int | None = None
) -> Datasets:
    """Find the text, learn or load the vocabularies, and encode the text.

    Args:
        experiment: the experiment
        run: run directory, where vocabularies and encoded text are kept; None to keep them in
            memory
        limit: maximum number of training pairs to read, about as many of each corpus; None for all

    Raises:
        UserError: if the text or a vocabulary cannot be used
    """
    data = experiment.data
    images = ImageSize.from_config(data.pictures)
    train, valid = _find_both_texts(data, limit)
    source, target = find_vocabularies(experiment, train, run)
    _check_vocabularies(experiment, source, target)
    preparation = Preparation.from_config(data, source, target)
    # A cache of its own lets several runs share the encoded text.
    cache = None if run is None else data.cache or run.cache
    processes = experiment.training.threads or usable_cores()

    def encode(corpus: Corpus) -> TokenCorpus:
        reader = open_image_store(corpus, images, cache_dir=cache) if images else source
        assert reader is not None
        tokens = tokenize_corpus(
            corpus,
            reader,
            target,
            max_length=data.max_length,
            cache_dir=cache,
            processes=processes,
            preparation=preparation,
        )
        return replace(tokens, reverses_targets=data.is_right_to_left)

    kind = images or source
    assert kind is not None
    encoded = encode(train)
    if data.alignment_files:
        assert source is not None, "images have no words"
        links = link_tokens(
            train,
            encoded,
            data.alignment_files,
            (source, target),
            preparation.of_files,
            cache_dir=cache,
            processes=processes,
        )
        encoded = replace(encoded, links=links)
    return Datasets(kind, target, encoded, encode(valid), train, valid, preparation)


def _find_both_texts(data: DataConfig, limit: int | None) -> tuple[Corpus, Corpus]:
    """Find the files of both texts, or hold out the validation text.

    Args:
        data: options of the data
        limit: maximum number of training pairs; None for all
    """
    with option_errors("data.train"):
        train = find_text(data, data.train)
    with option_errors("data.valid"):
        valid = train if data.held_out is not None else find_text(data, data.valid)
    for file in data.alignment_files:
        if not is_file(file):
            raise OptionError(f"{file} not found; give a Pharaoh file", "data.alignments")
    # One of the two texts may be a table alone.
    if data.columns is not None and not (train.has_tables or valid.has_tables):
        raise OptionError("has no effect without a .tsv or .csv file; remove it", "data.columns")
    for note in dict.fromkeys((*train.notes(), *valid.notes())):
        log.warning(note)
    train = train.limited(limit)
    if data.held_out is not None:
        with option_errors("data.valid"):
            train, valid = hold_out(train, data.held_out)
    return train, valid


def find_text(data: DataConfig, corpora: Sequence[CorpusOptions]) -> Corpus:
    """Find the files of corpora of an experiment.

    Raises:
        UserError: if a file is missing
    """
    parts = [
        find_part(
            one.path,
            one.source or data.source,
            one.target or data.target,
            images=data.pictures is not None,
            columns=data.columns,
            tag=one.tag,
            weight=one.weight if isinstance(one, TrainingCorpusOptions) else 1.0,
        )
        for one in corpora
    ]
    return Corpus(tuple(parts))


def _check_vocabularies(
    experiment: Experiment, source: Vocabulary | None, target: Vocabulary
) -> None:
    """Check that the vocabularies have the tags, and support sampling if it is an option."""
    if source is not None:
        _check_tags(experiment, source)
    if experiment.data.vocabulary.sampling is not None:
        _check_sampling(experiment.data.vocabulary.sampling, source, target)


def _check_sampling(
    sampling: SamplingConfig, source: Vocabulary | None, target: Vocabulary
) -> None:
    """Check that the sampled sides support sampling, and that each option acts on one of them."""
    option = "data.vocabulary.sampling"
    if sampling.sides == "source" and source is None:
        raise OptionError("has no effect on images; remove it", f"{option}.sides")
    kinds = {
        vocabulary.sampling
        for side, vocabulary in (("source", source), ("target", target))
        if vocabulary is not None and sampling.sides in ("both", side)
    }
    if None in kinds:
        message = "requires a vocabulary of type unigram or bpe, or codes; use one or remove it"
        raise OptionError(message, option)
    for name, kind in (("alpha", "unigram"), ("nbest", "unigram"), ("dropout", "bpe")):
        if kind not in kinds and getattr(sampling, name) != getattr(SamplingConfig(), name):
            message = f"has no effect without a vocabulary of type {kind}; remove it"
            raise OptionError(message, f"{option}.{name}")


def _check_tags(experiment: Experiment, source: Vocabulary) -> None:
    options = {tag: "data.train" for tag in experiment.data.tags}
    if (tag := experiment.search.tag) is not None:
        options[tag] = "search.tag"
    for tag, option in options.items():
        if not source.has_symbol(tag):
            message = f"the source vocabulary has no token {tag}; use one that contains the tag"
            start = experiment.training.start_from
            if start is not None and start.vocabulary == "keep":
                message = f"{message}, or training.start_from: {{vocabulary: extend}}"
            raise OptionError(message, option)


def weight_pairs(experiment: Experiment, datasets: Datasets) -> WeightedPairs | None:
    """Return the weights of the training corpora, or None if an epoch reads every pair once.

    Raises:
        UserError: if no pair of a corpus is kept
    """
    parts, temperature = datasets.train_corpus.parts, experiment.data.temperature
    weights = [part.weight for part in parts]
    if temperature == 1 and set(weights) == {1}:
        return None
    bounds = datasets.train.part_bounds
    sizes = np.diff(bounds).tolist()
    for part, size in zip(parts, sizes, strict=True):
        if not size:
            message = f"no pair of {part.name} is kept; check its files, or raise max_length"
            raise OptionError(message, "data.train")
    if temperature > 1:
        weights = temperature_weights(sizes, temperature)
    return WeightedPairs(bounds, weights, experiment.training.seed)


def describe_parts(experiment: Experiment, datasets: Datasets) -> list[str]:
    """Return a line per corpus of a training text that consists of several."""
    parts = datasets.train_corpus.parts
    if len(parts) == 1:
        return []
    sizes = np.diff(datasets.train.part_bounds).tolist()
    weighted = weight_pairs(experiment, datasets)
    counts = sizes if weighted is None else weighted.counts
    lines = []
    for part, size, count in zip(parts, sizes, counts, strict=True):
        tag = "" if part.tag is None else f", tag {part.tag}"
        share = 100 * count / sum(counts)
        lines.append(f"{part.name}: {size} pairs{tag}, {count} per epoch ({share:.1f} %)")
    return lines


def prepare_datasets_together(
    experiment: Experiment, run: RunDir, process_group: ProcessGroup
) -> Datasets:
    """Learn and encode on the first rank; load its vocabularies and encoded text on the others.

    Raises:
        UserError: if the text or a vocabulary cannot be used, or is not the same on all ranks
    """
    with process_group.first_rank_first():
        if not run.config.is_file():
            raise UserError(
                "not found by all processes; use a --run-dir that all machines share",
                str(run.path),
            )
        datasets = prepare_datasets(experiment, run)
    # Ranks that read different files would train on batches that do not fit together.
    if not process_group.all_equal(datasets.train.fingerprint):
        raise UserError(
            "differs from the text of the first process; give all machines the same files",
            str(datasets.train_corpus.files[0]),
        )
    return datasets


def find_vocabularies(experiment: Experiment, train: Corpus, run: RunDir | None) -> Vocabularies:
    """Return the vocabularies of source and target, and save them in a new run.

    They are those of the run if it has any. Otherwise they are those of the run to start from,
    unless it says to replace them, the given models, or learned from the training text, in this
    order. The source vocabulary is None where the source is images.

    Raises:
        UserError: if they cannot be learned or read
    """
    if run is not None and run.vocabulary.is_dir():
        return load_vocabularies(run)
    config = experiment.data.vocabulary
    start = experiment.training.start_from
    if start is not None and start.vocabulary != "replace":
        source, target = start_vocabularies(experiment, start, train)
    elif config.model is not None:
        with option_errors("data.vocabulary.model"):
            source, target = load_given_vocabularies(config)
    else:
        source, target = learn_vocabularies(experiment.data, train)
    found = (None if train.images else source), target
    if run is not None:
        save_vocabularies(run, found)
    return found


def check_coverage(experiment: Experiment, datasets: Datasets) -> list[TextCoverage]:
    """Compare the training text with the vocabularies, per side.

    Raises:
        UserError: if more than a fifth of the tokens are unknown
    """
    vocabularies = datasets.source_vocabulary, datasets.target_vocabulary
    symbols = experiment.data.vocabulary.user_defined_symbols
    sides = measure_coverage(
        datasets.train_corpus, datasets.train, *vocabularies, symbols, datasets.preparation
    )
    for side in sides:
        if reason := side.refusal():
            raise OptionError(f"{reason}; {_coverage_remedy(experiment)}", "data.vocabulary")
    return sides


def _coverage_remedy(experiment: Experiment) -> str:
    start = experiment.training.start_from
    if start is not None and start.vocabulary == "keep":
        return (
            f"write training.start_from: {{run: {start.run}, vocabulary: extend}} to add tokens of "
            "this text, or replace to learn another vocabulary from it"
        )
    if experiment.data.vocabulary.model is not None:
        return "give another model, or remove it to learn a vocabulary from this text"
    if experiment.data.vocabulary.type == "word":
        return "raise data.vocabulary.size, or use type: bpe"
    return "raise character_coverage, or set byte_fallback: true"


def load_validation_text(data: DataConfig, datasets: Datasets) -> tuple[list[str], list[str]]:
    """Load the source lines and references of the validation text, including those not encoded.

    Raises:
        UserError: if the text is empty
    """
    pairs = list(datasets.valid_corpus.pairs())
    if not pairs:
        raise OptionError("the validation text is empty; add at least one pair", "data.valid")
    sources, targets = zip(*pairs, strict=True)
    return list(sources), [datasets.preparation.reference(target) for target in targets]


def load_alignment_set(experiment: Experiment) -> AlignmentSet | None:
    """Load the sentence pairs with gold alignments, if the experiment has any.

    Raises:
        UserError: if a file cannot be read, or they do not fit together
    """
    config, data = experiment.evaluation.alignments, experiment.data
    if config is None:
        return None
    if config.text is None and data.held_out is not None:
        message = "requires text: with a share as data.valid, the pairs of the gold are unknown"
        raise OptionError(f"{message}; add the files of its text", "evaluation.alignments")
    with option_errors("evaluation.alignments"):
        corpus = find_text(data, config.text or data.valid)
        return AlignmentSet.load(corpus, config.gold)
