"""Setup of training: batches, model and trainer."""

import numpy as np
import torch

from nmt.config.choices import backend_of
from nmt.config.schema import Experiment, TrainingConfig
from nmt.data.bleu_tokenizer import choose_tokenizer
from nmt.data.loader import BatchLoader
from nmt.data.subword_regularization import sample_segmentations
from nmt.data.token_corpus import TokenCorpus
from nmt.data.vocabulary import Vocabulary
from nmt.distributed.process_group import SINGLE_PROCESS_GROUP, ProcessGroup
from nmt.model.build import build_model
from nmt.registry import OPTIMIZERS, SCHEDULES
from nmt.search.sentence_metrics import make_sentence_metric
from nmt.search.target_order import token_decoder
from nmt.training.datasets import Datasets, weight_pairs
from nmt.training.graphed_update import check_graph_support
from nmt.training.guided_alignment import GuidedAlignment
from nmt.training.limits import Limits, TrainingLength
from nmt.training.loss import CPU_CHUNK, GPU_CHUNK
from nmt.training.minimum_risk import MinimumRisk
from nmt.training.precision import Precision
from nmt.training.scheduled_sampling import ScheduledSampling
from nmt.training.start_from import freeze
from nmt.training.trainer import Trainer

MIN_BATCH_TOKENS = 1024
"""Smallest batch size that `batch_tokens: auto` tries, and the one until it has chosen."""


def build_loader(experiment: Experiment, datasets: Datasets) -> BatchLoader:
    """Build the loader of training batches.

    With subword sampling, every epoch has another segmentation of the text.
    """
    training, sampling = experiment.training, experiment.data.vocabulary.sampling

    def corpus_of(epoch: int) -> TokenCorpus:
        if sampling is None:
            return datasets.train
        return sample_segmentations(
            datasets.train,
            datasets.source_vocabulary if sampling.sides != "target" else None,
            datasets.target_vocabulary if sampling.sides != "source" else None,
            alpha=sampling.alpha,
            nbest=sampling.nbest,
            dropout=sampling.dropout,
            seed=_derived_seed(training.seed, epoch),
        )

    weighted = weight_pairs(experiment, datasets)
    batch_tokens = MIN_BATCH_TOKENS if training.batch_tokens == "auto" else training.batch_tokens
    return BatchLoader(
        corpus_of,
        datasets.special_tokens,
        batch_tokens=batch_tokens,
        batch_sentences=training.batch_sentences,
        seed=training.seed,
        few_shapes=training.recurrence == "graph",
        bucket_pairs=training.bucket_pairs,
        pairs_of_epoch=None if weighted is None else weighted.of_epoch,
    )


def build_trainer(
    experiment: Experiment,
    datasets: Datasets,
    device: torch.device,
    process_group: ProcessGroup = SINGLE_PROCESS_GROUP,
) -> Trainer:
    """Build the model and a trainer that is ready for its first update.

    All ranks initialize the parameters with the same random numbers. Their dropout differs.
    """
    training, chunk = experiment.training, experiment.training.output_chunk
    guided = training.guided_alignment
    if chunk == "auto":
        chunk = GPU_CHUNK if device.type == "cuda" else CPU_CHUNK
    # The order of random numbers is part of reproducibility: initialization comes first.
    torch.manual_seed(training.seed)
    source = datasets.source
    source_size = len(source) if isinstance(source, Vocabulary) else source
    target_size = len(datasets.target_vocabulary)
    model = build_model(
        experiment.model, source_size, target_size, recurrence=backend_of(training.recurrence)
    ).to(device)
    start = training.start_from
    trained = freeze(model, start.freeze) if start is not None and start.freeze else None
    optimizer = OPTIMIZERS.build(training.optimizer, trained or model.parameters())
    uses_graphs = training.recurrence == "graph"
    if uses_graphs:
        check_graph_support(
            device,
            optimizer,
            accumulate=training.accumulate,
            ranks=process_group.world_size,
            deterministic=training.deterministic,
        )
    trainer = Trainer(
        model,
        optimizer,
        SCHEDULES.build(training.schedule),
        build_loader(experiment, datasets),
        Precision(training.precision, device),
        accumulate=training.accumulate,
        clip_norm=training.clip_norm,
        label_smoothing=training.label_smoothing,
        output_chunk=chunk,
        guided_alignment=None if guided is None else GuidedAlignment(guided.weight, guided.until),
        r_drop=0.0 if training.r_drop is None else training.r_drop.weight,
        minimum_risk=_build_minimum_risk(experiment, datasets),
        scheduled_sampling=_build_sampling(experiment, datasets),
        uses_graphs=uses_graphs,
        process_group=process_group,
        compresses_gradients=training.gradient_exchange == "bf16",
    )
    trainer.schedule.length = TrainingLength(
        limits_of(training),
        trainer.updates_per_epoch,
        # The clocks of the ranks differ, but not their learning rates.
        lambda: process_group.broadcast(trainer.timer.minutes),
    )
    # A single process goes on with the generator that has initialized the parameters.
    if process_group.world_size > 1:
        torch.manual_seed(_derived_seed(training.seed, process_group.rank))
    return trainer


def _build_minimum_risk(experiment: Experiment, datasets: Datasets) -> MinimumRisk | None:
    risk, vocabulary = experiment.training.minimum_risk, datasets.target_vocabulary
    if risk is None:
        return None
    tokenize = choose_tokenizer(experiment.data.target).name if risk.metric == "bleu" else None
    return MinimumRisk(
        make_sentence_metric(risk.metric, tokenize).matrix,
        samples=risk.samples,
        sharpness=risk.sharpness,
        seed=experiment.training.seed,
        special=datasets.special_tokens[1],
        decode=token_decoder(vocabulary, right_to_left=experiment.data.is_right_to_left),
    )


def _build_sampling(experiment: Experiment, datasets: Datasets) -> ScheduledSampling | None:
    options = experiment.training.scheduled_sampling
    if options is None:
        return None
    eos = datasets.target_vocabulary.eos
    return ScheduledSampling(options.decay, options.constant, minimum=options.minimum, eos=eos)


def limits_of(training: TrainingConfig) -> Limits:
    """Return the limits of an experiment."""
    return Limits(training.epochs, training.steps, training.minutes)


def _derived_seed(seed: int, index: int) -> int:
    """Return the seed of an epoch or a rank."""
    # Hashed, so that the epochs of neighboring seeds do not share random numbers.
    return int(np.random.SeedSequence([seed, index]).generate_state(1)[0])
