"""Translation of text by saved models: the class `Translator`."""

from collections.abc import Iterable, Mapping, Sequence
from math import inf
from os import PathLike
from pathlib import Path
from typing import Any, overload

import torch

from nmt.config.search_options import SearchOptions
from nmt.data.text import list_texts
from nmt.device import has_fast_bf16, resolve_device
from nmt.errors import UserError
from nmt.inference.ctranslate2 import load_engine
from nmt.inference.saved_model import SavedModel, load_saved_model
from nmt.search.attention_views import attention_views
from nmt.search.batch_encoder import BatchEncoder
from nmt.search.constraints.request import Phrases, constraints_of_texts
from nmt.search.graphed_steps import check_recurrence
from nmt.search.intervention import NO_WEIGHTS, Intervention
from nmt.search.line_translator import LineTranslator
from nmt.search.reranking import Reranker
from nmt.search.source_encoding import SourceEncoding, encode_sources
from nmt.search.source_line import SourceLine, number_lines
from nmt.search.translation import Translation

BACKENDS = ("torch", "ctranslate2")


class Translator(LineTranslator):
    """A compiled model or an ensemble that translates text, scores it and encodes it.

    The arguments of its constructor are those of `LineTranslator`; `load` reads them from runs.
    """

    @classmethod
    def load(
        cls,
        *runs: str | PathLike[str],
        checkpoint: str | int = "best",
        device: str = "auto",
        precision: str | None = None,
        recurrence: str = "auto",
        fast: bool = False,
        trust_plugins: bool = False,
        rerank: Sequence[str | PathLike[str]] = (),
        rerank_weight: float = 1.0,
        backend: str = "torch",
        details: bool = True,
    ) -> "Translator":
        """Load the model of a run or a bundle, or an ensemble of several.

        Args:
            runs: run directories, bundles, or `hf://USER/REPOSITORY` of the Hugging Face hub
            checkpoint: best, last, average or the number of an update
            device: auto (a GPU if available), cpu or cuda
            precision: see `Translator`; by default int8 on a CPU if all models are bundles in
                int8, otherwise fp32
            recurrence: see `Translator`
            fast: approximate as far as the CPU becomes faster by it: int8, a shortlist, and
                recurrent encoders in bfloat16 if the CPU has instructions for it
            trust_plugins: run the Python code that the runs contain or name, and follow links out
                of their directories; a run from an unknown source could do anything then
            rerank: runs or bundles whose models score the hypotheses of the beam, and given
                translations; their vocabularies may be others
            rerank_weight: weight of the score of each of them, relative to that of the search
            backend: torch, or ctranslate2 to translate with a Transformer by CTranslate2
            details: False to leave out attention and piece scores, which take about a third more
                time with backend ctranslate2; has no effect with torch

        Raises:
            UserError: if a run cannot be read, the target vocabularies of the runs differ, a model
                of `rerank` reads another kind of source, or the backend lacks an option
        """
        if not runs:
            raise UserError("no run directory is given; name at least one")
        # Before the weights are read, which takes longer than this check.
        check_recurrence(recurrence, resolve_device(device))
        if fast:
            _check_fast(precision, resolve_device(device))
        _check_backend(backend, len(runs), recurrence=recurrence, fast=fast)
        saved = [
            load_saved_model(Path(run), str(checkpoint), trust_plugins=trust_plugins)
            for run in runs
        ]
        for run, other in zip(runs, saved, strict=True):
            if difference := saved[0].ensemble_difference(other):
                raise UserError(f"has {difference} than {runs[0]}; give another run", str(run))
        translator = cls.from_saved(
            saved,
            device=device,
            precision=precision,
            recurrence=recurrence,
            fast=fast,
            backend=backend,
            details=details,
        )
        for path in rerank:
            reranker = cls.load(
                path,
                checkpoint=checkpoint,
                device=device,
                precision=precision,
                trust_plugins=trust_plugins,
                backend=backend,
                details=False,
            )
            translator.add_reranker(reranker, rerank_weight)
        return translator

    @classmethod
    def from_saved(
        cls,
        saved: Sequence[SavedModel],
        *,
        device: str = "auto",
        precision: str | None = None,
        recurrence: str = "auto",
        fast: bool = False,
        backend: str = "torch",
        details: bool = True,
    ) -> "Translator":
        """Return the translator of a loaded model, or of an ensemble; see `load`.

        Args:
            saved: models with the same target vocabulary
            device, precision, recurrence, fast, backend, details: as in `load`

        Raises:
            UserError: if the models or other options do not support `fast` or the backend
        """
        resolved = resolve_device(device)
        _check_backend(backend, len(saved), recurrence=recurrence, fast=fast)
        if fast:
            _check_fast(precision, resolved)
            precision = "int8"
        if precision is None:
            is_int8 = resolved.type == "cpu" and all(one.precision == "int8" for one in saved)
            precision = "int8" if is_int8 else "fp32"
        first, engine = saved[0], None
        if backend == "ctranslate2":
            engine = load_engine(first, device=resolved, precision=precision)
        # The options of the first run apply to the ensemble.
        translator = cls(
            [] if engine else [one.model for one in saved],
            first.source,
            first.target_vocabulary,
            first.experiment.search,
            device=resolved,
            precision=precision,
            other_sources=[one.source for one in saved[1:]],
            recurrence=recurrence,
            preparation=first.preparation,
            shortlist=first.shortlist,
            right_to_left=first.experiment.data.is_right_to_left,
            bfloat16_encoder=fast and has_fast_bf16(),
            engine=engine,
            details=details,
        )
        translator.location = first.location
        if fast:
            translator.change_options({"shortlist": True})
        data = first.experiment.data
        translator.languages = (data.source, data.target)
        tags = [corpus.tag for corpus in data.train if corpus.tag is not None]
        if len(tags) == len(data.train):
            translator.required_tags = tuple(dict.fromkeys(tags))
        translator.warnings = tuple(warning for one in saved for warning in one.warnings)
        return translator

    def translate(
        self,
        texts: str | Iterable[str],
        *,
        prefix: str | Sequence[str] = "",
        terms: Phrases = (),
        forbid: Phrases = (),
        keep_tag: str | None = None,
        **options: object,
    ) -> list[Translation]:
        """Translate sentences, or caption images.

        Sentences of similar length are translated together, so a long list is fastest.

        Args:
            texts: sentences or file names of images, or a single one; empty ones have empty
                translations
            prefix: text that the translations begin with, the same for all or one per text
            terms: phrases that a translation contains, each exactly as often as it is listed: a
                list for all texts, or a list of lists, one per text
            forbid: phrases that a translation does not contain, given like `terms`
            keep_tag: name of a tag: the text between `<NAME>` and `</NAME>` in a sentence is a term
                of its translation, and the tags are removed
            options: fields of `SearchOptions` to change for this call, such as `beam_size=1`

        Returns:
            one translation per text, in order

        Raises:
            UserError: for unknown or invalid options, for constraints that contradict each other or
                the vocabulary cannot spell, or if an image cannot be read
        """
        texts = list_texts(texts)
        constraints = constraints_of_texts(len(texts), prefix, terms, forbid)
        pairs = zip(number_lines(texts), constraints, strict=True)
        lines = [line.with_constraints(*own) for line, own in pairs]
        if keep_tag is not None:
            lines = [line.with_tagged_terms(keep_tag) for line in lines]
        return self.translate_lines(lines, self.options.updated(options))

    @overload
    def __call__(self, texts: str, **options: Any) -> Translation: ...

    @overload
    def __call__(self, texts: Iterable[str], **options: Any) -> list[Translation]: ...

    def __call__(
        self, texts: str | Iterable[str], **options: Any
    ) -> Translation | list[Translation]:
        """Translate a sentence, or a list of them; the arguments are those of `translate`."""
        translations = self.translate(texts, **options)
        return translations[0] if isinstance(texts, str) else translations

    def add_reranker(self, other: LineTranslator, weight: float = 1.0) -> None:
        """Let another translator score the hypotheses of the beam; see `nmt.search.reranking`.

        Args:
            other: translator of the same kind of source
            weight: weight of its scores relative to that of the search, above 0

        Raises:
            UserError: for a weight of 0 or less, or another kind of source
        """
        if not 0 < weight < inf:
            raise UserError(f"rerank_weight must be above 0 and finite, got {weight:g}")
        if (self.reader.grid is None) != (other.reader.grid is None):
            message = "cannot rerank: it reads another kind of source; give another run"
            raise UserError(message, other.location)
        self.rerankers += (Reranker(other.score_lines, weight),)
        self.warnings += other.warnings

    def encode(self, texts: str | Iterable[str]) -> SourceEncoding:
        """Compute the annotations of sentences or images, without translating them.

        Args:
            texts: sentences or file names of images, or a single one

        Raises:
            UserError: if the translator is an ensemble or that of another backend, or if an image
                cannot be read
        """
        self._require_torch("encode")
        if len(self.models) > 1:
            raise UserError("an ensemble has several encoders; load a single run to encode")
        lines = list(number_lines(list_texts(texts)))
        texts = self._tagged_texts(lines, self.options)
        return encode_sources(self.models[0], self.reader, texts, self.options)

    def attention_views(
        self,
        translations: Sequence[Translation],
        names: Sequence[str],
        options: SearchOptions,
        *,
        heads: bool = False,
    ) -> list[dict[str, Translation]]:
        """Return copies of translations with the attention of each model, and of each head.

        Args:
            translations: translations by this translator
            names: names of the models
            options: options of the translations
            heads: whether to add a copy for each head of each layer of multi-head attention

        Raises:
            UserError: if the translator is that of another backend
        """
        self._require_torch("attention_views")
        lines = list(number_lines([one.source for one in translations]))
        texts = self._tagged_texts(lines, options)
        readers = [self.readers[number] for number in self._reader_of_model]
        assert isinstance(self._encoder, BatchEncoder)
        models = dict(zip(names, zip(self.models, readers, strict=True), strict=True))
        return attention_views(
            models,
            texts,
            translations,
            self._encoder.token_ids,
            bos=self.target_vocabulary.bos,
            heads=heads,
            right_to_left=self.is_right_to_left,
        )

    def score(
        self, texts: str | Sequence[str], targets: str | Sequence[str], **options: object
    ) -> list[Translation]:
        """Score given translations, and compute the attention of the model while it reads them.

        Args:
            texts: sentences or file names of images, or a single one
            targets: one translation per text
            options: as in `translate`

        Raises:
            UserError: for unknown or invalid options, or different numbers of texts and targets
        """
        texts, targets = list_texts(texts), list_texts(targets)
        if len(texts) != len(targets):
            raise UserError(f"{len(texts)} sentences, but {len(targets)} translations to score")
        pairs = enumerate(zip(texts, targets, strict=True))
        lines = [SourceLine(number, text, target) for number, (text, target) in pairs]
        return self.translate_lines(lines, self.options.updated(options))

    def intervene(
        self,
        text: str,
        *,
        pieces: Sequence[str] = (),
        attention: Mapping[int, Sequence[float]] = NO_WEIGHTS,
        **options: object,
    ) -> Translation:
        """Translate a sentence with parts that are not left to the model. Lee et al. 2017.

        Args:
            text: a sentence, or the file name of an image
            pieces: first pieces of the translation
            attention: attention weights of some target pieces, counted from 0: one weight per
                source piece and one for `</s>`; they are divided by their sum
            options: as in `translate`

        Raises:
            UserError: for unknown pieces, weights that do not fit the source, and weights for a
                model whose attention cannot be set: an ensemble, or one without normalized
                attention to the source
        """
        line = SourceLine(0, text, intervention=Intervention(tuple(pieces), attention))
        return self.translate_lines([line], self.options.updated(options))[0]

    def _require_torch(self, method: str) -> None:
        if not self.models:
            raise UserError(f"{method} requires backend torch; load the model without backend")


def _check_backend(backend: str, models: int, *, recurrence: str, fast: bool) -> None:
    """Raise UserError for an unknown backend, and for options that a backend does not support."""
    if backend not in BACKENDS:
        raise UserError(f"backend {backend!r}: must be one of {', '.join(BACKENDS)}")
    if backend == "torch":
        return
    if models > 1:
        raise UserError(f"backend {backend} has no ensembles; give one model, or use backend torch")
    if recurrence != "auto":
        raise UserError(f"recurrence {recurrence} has no effect with backend {backend}; use auto")
    if fast:
        raise UserError(f"fast is not possible with backend {backend}; use precision int8")


def _check_fast(precision: str | None, device: torch.device) -> None:
    """Raise UserError for options that contradict the fast mode."""
    if precision is not None:
        raise UserError(f"precision {precision}: has no effect with fast, which is int8; remove it")
    if device.type != "cpu":
        raise UserError("fast requires a CPU; use device cpu, or precision bf16 on a GPU")
