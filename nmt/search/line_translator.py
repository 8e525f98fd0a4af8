"""Translation of numbered lines: batches, search, and the text of hypotheses."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch

from nmt.config.search_options import SearchOptions
from nmt.data.images import ImageSize
from nmt.data.preparation import UNPREPARED, Preparation
from nmt.data.shortlist import ReadShortlist
from nmt.data.text import is_blank
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.inference.compile import compile_model
from nmt.model.seq2seq import Seq2Seq
from nmt.search.batch_encoder import BatchEncoder
from nmt.search.batch_planning import plan_batches
from nmt.search.constraints.line_constraints import resolve_lines
from nmt.search.ctranslate2 import CTranslate2Batch, CTranslate2Search, check_engine_options
from nmt.search.encoded_batch import EncodedBatch
from nmt.search.graphed_steps import check_recurrence
from nmt.search.hypothesis import Hypothesis
from nmt.search.minimum_bayes_risk import minimize_risk
from nmt.search.postprocessing import convert_hypotheses
from nmt.search.reranking import Reranker, check_reranking, rerank
from nmt.search.source_line import SourceLine
from nmt.search.source_reader import make_reader
from nmt.search.tags import tagged_texts
from nmt.search.target_order import in_text_order, reorder, text_order, token_decoder
from nmt.search.translation import Translation


class LineTranslator:
    """Translator of numbered lines: a model or an ensemble, its vocabularies and search options.

    Args:
        models: trained models with the same target vocabulary; not modified. Empty with `engine`
        source: source vocabulary of the first model, or size of the images; it decides the pieces,
            the attention and the alignment of a translation
        target_vocabulary: target vocabulary
        options: search options that apply unless a call changes them
        device: device to translate on
        precision: fp32, bf16, tf32 or fp16 (on a GPU), or int8 (weights as integers, on a CPU; see
            `compile_model`)
        other_sources: sources of the other models, each of which reads its own segmentation; empty
            if they have that of the first
        recurrence: auto, or graph to run beam search as CUDA graphs, for batches of few shapes (on
            a GPU, experimental)
        preparation: preparation of text before the vocabularies, and its inverse
        shortlist: reads the shortlist of the first model, when the option `shortlist` is set; None
            without one
        bfloat16_encoder: whether recurrent encoders run in bfloat16, on a CPU
        right_to_left: whether the models generate translations from the last token to the first
        engine: model of CTranslate2 from `load_engine`, which translates instead of `models`
        details: with `engine`, whether translations have attention and `piece_scores`, which takes
            about a third more time

    Attributes:
        is_right_to_left: see `right_to_left`
        rerankers: models that score the hypotheses of the beam, and given targets
        readers: the different readers of source lines, that of the first model first
        reader: the first of them
        warnings: warnings about damaged checkpoints
        location: path of the first run, for error messages; empty if unknown
        languages: suffixes of the source and target files in training; empty if unknown
        required_tags: tags of which one is before every source sentence; empty if none is required

    Raises:
        UserError: if the device does not support the precision or CUDA graphs
    """

    def __init__(
        self,
        models: Sequence[Seq2Seq],
        source: Vocabulary | ImageSize,
        target_vocabulary: Vocabulary,
        options: SearchOptions,
        *,
        device: torch.device,
        precision: str = "fp32",
        other_sources: Sequence[Vocabulary | ImageSize] = (),
        recurrence: str = "auto",
        preparation: Preparation = UNPREPARED,
        shortlist: ReadShortlist | None = None,
        bfloat16_encoder: bool = False,
        right_to_left: bool = False,
        engine: Any = None,
        details: bool = True,
    ) -> None:
        check_recurrence(recurrence, device)
        self._shortlist = shortlist
        self.models = [
            compile_model(
                model,
                precision=precision,
                device=device,
                selects_outputs=shortlist is not None,
                bfloat16_encoder=bfloat16_encoder,
            )
            for model in models
        ]
        self.options = options
        sources = [source, *(other_sources or [source] * (len(models) - 1))]
        grids = [model.grid for model in self.models] or [None]  # the engine reads text
        uses_graphs = recurrence == "graph"
        readers = [
            make_reader(*one, few_shapes=uses_graphs, preparation=preparation)
            for one in zip(sources, grids, strict=True)
        ]
        # Models with the same source share a reader, and read the same batch.
        names = list(dict.fromkeys(one.fingerprint for one in readers))
        self.readers = [next(one for one in readers if one.fingerprint == name) for name in names]
        self._reader_of_model = [names.index(one.fingerprint) for one in readers]
        self.reader = self.readers[0]
        self.target_vocabulary, self.preparation = target_vocabulary, preparation
        self.is_right_to_left = right_to_left
        self._decode_tokens = token_decoder(target_vocabulary, right_to_left=right_to_left)
        self.rerankers: tuple[Reranker, ...] = ()
        self.device = device
        self._encoder: BatchEncoder | CTranslate2Search
        if engine is None:
            self._encoder = BatchEncoder(
                self.models,
                self.readers,
                self._reader_of_model,
                target_vocabulary,
                uses_graphs=uses_graphs,
                shortlist=shortlist,
            )
        else:
            assert isinstance(source, Vocabulary)
            eos = source.eos, target_vocabulary.eos
            self._encoder = CTranslate2Search(engine, self.reader, *eos, details=details)
        self.warnings: tuple[str, ...] = ()
        self.location = ""
        self.languages: tuple[str, ...] = ()
        self.required_tags: tuple[str, ...] = ()

    def change_options(self, changes: Mapping[str, object]) -> None:
        """Change the search options that apply unless a call changes them.

        Args:
            changes: new values by option name

        Raises:
            UserError: for unknown or invalid options, or those that require another model
        """
        options = self.options.updated(changes)
        self._check_options(options, is_constrained=False, intervenes=False)
        self.options = options

    def translate_lines(
        self, lines: Sequence[SourceLine], options: SearchOptions, *, file: str = ""
    ) -> list[Translation]:
        """Translate numbered lines, or score their targets.

        Results depend on the lines' numbers, but not on which lines are given together.

        Args:
            lines: all with a target to score, or all without one
            options: complete search options
            file: name of the lines' file for error messages; empty for no file

        Raises:
            UserError: if an image cannot be read, or an option requires another model
        """
        is_constrained = any(line.constraints for line in lines)
        intervenes = any(line.intervention for line in lines)
        for line in lines:
            if line.intervention is not None and is_blank(line.text):
                raise UserError("is empty; remove its intervention", line.location(file))
        self._check_options(options, is_constrained=is_constrained, intervenes=intervenes)
        if self.rerankers and not any(line.target is not None for line in lines):
            check_reranking(options)
        resolved = None
        if is_constrained:
            assert isinstance(self._encoder, BatchEncoder)
            compiler = self._encoder.constraint_compiler
            resolved = resolve_lines(compiler, self.preparation, lines, options, file)
        texts = self._tagged_texts(lines, options, file)
        # By reader, then by line.
        encoded = [reader.encode(texts) for reader in self.readers]
        ids = encoded[0]
        lengths = [max(map(len, own)) if own[0] else 0 for own in zip(*encoded, strict=True)]
        # Empty lines are in no batch and keep these empty translations.
        translations = [Translation(line.text) for line in lines]
        plan = plan_batches(
            lengths, options, self.device, few_shapes=self._encoder.graphs is not None
        )
        for rows in plan:
            selected = [lines[row] for row in rows]
            selected_ids = [[own[row] for row in rows] for own in encoded]
            constraints = resolved and [resolved[row] for row in rows]
            batch = self._encoder.encode(selected, selected_ids, options, file, constraints)
            hypotheses_b = self._decode(batch, selected, options)
            examined_b = zip(rows, *batch.examine(hypotheses_b, options), strict=True)
            for row, hypotheses, others, entropies in examined_b:
                if self.is_right_to_left and hypotheses:
                    best = hypotheses[0]
                    order = text_order(len(best.content), len(best.tokens))
                    others, entropies = reorder(others, order), reorder(entropies, order)
                    hypotheses = list(map(in_text_order, hypotheses))
                translation = convert_hypotheses(
                    lines[row],
                    texts[row],
                    ids[row],
                    hypotheses,
                    others,
                    options,
                    reader=self.reader,
                    vocabulary=self.target_vocabulary,
                    preparation=self.preparation,
                )
                translations[row] = replace(translation, entropies=tuple(entropies))
        return translations

    def score_lines(self, lines: Sequence[SourceLine], options: SearchOptions) -> list[float]:
        """Return the scores of lines with targets, to rerank the hypotheses of another model.

        Args:
            lines: lines, all with a target
            options: options of that model's search, of which length_penalty, batch_tokens and tag
                apply
        """
        own = SearchOptions(
            length_penalty=options.length_penalty,
            batch_tokens=options.batch_tokens,
            tag=options.tag or self.options.tag,
        )
        return [one.score for one in self.translate_lines(lines, own)]

    def _check_options(
        self, options: SearchOptions, *, is_constrained: bool, intervenes: bool
    ) -> None:
        """Raise UserError for options that the model or its recurrence does not support."""
        if isinstance(self._encoder, CTranslate2Search):
            check_engine_options(options, is_constrained=is_constrained, intervenes=intervenes)
        if options.replace_unknown and self.reader.grid is not None:
            raise UserError("replace_unknown has no effect with images, which have no words")
        if options.shortlist and self.reader.grid is not None:
            raise UserError("shortlist has no effect with images, which have no words")
        if options.shortlist:
            if self._shortlist is None:
                message = (
                    "shortlist: the model has none; run nmt-train again, which adds it to a "
                    "finished run, and nmt-export for a bundle"
                )
                raise UserError(message, self.location)
            self._shortlist()
        if self.is_right_to_left and (is_constrained or intervenes):
            name = "constraints" if is_constrained else "interventions"
            raise UserError(
                f"{name} are not possible with data.target_order: right_to_left; remove them"
            )
        if self._encoder.graphs is not None:
            _check_graph_options(options, is_constrained=is_constrained, intervenes=intervenes)

    def _tagged_texts(
        self, lines: Sequence[SourceLine], options: SearchOptions, file: str = ""
    ) -> list[str]:
        return tagged_texts(
            lines, options.tag, readers=self.readers, required=self.required_tags, file=file
        )

    def _decode(
        self,
        batch: EncodedBatch | CTranslate2Batch,
        lines: list[SourceLine],
        options: SearchOptions,
    ) -> list[list[Hypothesis]]:
        """Return the hypotheses of each line, best first."""
        prepare = self.preparation.target
        targets = [prepare(line.target, line.text) for line in lines if line.target is not None]
        if targets:
            assert len(targets) == len(lines)
            tokens = self.target_vocabulary.encode_batch(targets)
            tokens = [own[::-1] for own in tokens] if self.is_right_to_left else tokens
            hypotheses_b = batch.force_decode(tokens, options)
        else:
            numbers = [line.number for line in lines]
            searched = options.updated({"n_best": options.beam_size}) if self.rerankers else options
            hypotheses_b = batch.search(numbers, searched, self._decode_tokens)
        decode, preparation = self._decode_tokens, self.preparation
        if self.rerankers:
            return rerank(hypotheses_b, lines, options, decode, preparation, self.rerankers)
        if options.mbr is None or targets:
            return hypotheses_b
        language = self.languages[-1] if self.languages else None
        return minimize_risk(hypotheses_b, lines, options, decode, preparation, language)


def _check_graph_options(options: SearchOptions, *, is_constrained: bool, intervenes: bool) -> None:
    """Raise UserError for a search that graphs do not support."""
    if options.block_ngram_repeat:
        # The tokens to compare are one more at every step.
        raise UserError("block_ngram_repeat is not possible with recurrence graph; use auto")
    if options.shortlist:
        # Every batch has another number of outputs.
        raise UserError("shortlist is not possible with recurrence graph; use auto")
    if is_constrained:
        raise UserError("constraints are not possible with recurrence graph; use auto")
    if intervenes:
        raise UserError("interventions are not possible with recurrence graph; use auto")
