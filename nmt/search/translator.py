"""Text in, text out: vocabulary, batches, search and back, the same for every command."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import torch

from nmt.data.images import ImageSize
from nmt.data.vocabulary import Vocabulary
from nmt.device import resolve_device
from nmt.errors import UserError
from nmt.inference.compile import compile_model
from nmt.inference.saved_model import SavedModel, load_saved_model
from nmt.model.interfaces import Memory, State
from nmt.model.seq2seq import Seq2Seq
from nmt.search.ensemble import ensemble
from nmt.search.hypothesis import Hypothesis
from nmt.search.options import SearchOptions
from nmt.search.reader import Place, make_reader
from nmt.search.started import Started, cut_batches
from nmt.search.step import Step
from nmt.search.translation import Translation, finish


class Translator:
    """One model or an ensemble, with its vocabularies and search options.

    Args:
        models: of one vocabulary each side, on `device`, in evaluation mode
        source: the vocabulary that cuts the source, or what its pictures are
        target_vocabulary: joins the target
        options: how to search when a call does not say otherwise
        device: where the models are
        precision: fp32, bf16, fp16, or int8: the decoder's weights as 8-bit integers, on a CPU

    Raises:
        UserError: when the device has no such precision
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
    ) -> None:
        self.models = [compile_model(model, precision=precision, device=device) for model in models]
        self.options = options
        self.reader = make_reader(source, self.models[0].grid)
        self.target_vocabulary = target_vocabulary
        self.device, self.precision = device, precision
        self.warnings: tuple[str, ...] = ()

    @classmethod
    def load(
        cls,
        *runs: str | PathLike[str],
        checkpoint: str = "best",
        device: str = "auto",
        precision: str = "fp32",
    ) -> "Translator":
        """The model of a run directory; of several, an ensemble.

        Raises:
            UserError: when a run cannot be read, or runs do not share their vocabularies
        """
        if not runs:
            raise UserError("no run is given; name a run directory")
        place = resolve_device(device)
        saved = [load_saved_model(Path(run), checkpoint) for run in runs]
        first = saved[0]
        for run, other in zip(runs, saved, strict=True):
            if _fingerprints(other) != _fingerprints(first):
                raise UserError(f"has another vocabulary than {runs[0]}", str(run))
        translator = cls(
            [one.model.to(place) for one in saved],
            first.source,
            first.target_vocabulary,
            SearchOptions.of(first.experiment.search),
            device=place,
            precision=precision,
        )
        translator.warnings = tuple(warning for one in saved for warning in one.warnings)
        return translator

    def translate(self, texts: Iterable[str], **options: Any) -> list[Translation]:
        """Translations of sentences, in their order.

        Args:
            texts: one sentence, or one picture's file name, each; an empty one gives an empty
                translation
            options: fields of `SearchOptions` that differ for this call, such as `beam_size`
        """
        return list(self.stream([list(texts)], **options))

    def stream(
        self, windows: Iterable[Sequence[str]], *, file: str = "", **options: Any
    ) -> Iterator[Translation]:
        """Translations of windows of sentences; those of a window come when it is done.

        Sentences of like length are translated together, so a larger window is faster.

        Args:
            windows: of sentences, or of names of pictures
            file: that the windows come from, to name the line of a picture that cannot be read
            options: as in `translate`

        Raises:
            UserError: for such a picture
        """
        before = 0
        for texts in windows:
            numbers = range(before, before + len(texts))
            yield from self.lines(texts, numbers, file=file, **options)
            before += len(texts)

    def lines(
        self, texts: Sequence[str], numbers: Sequence[int], *, file: str = "", **options: Any
    ) -> list[Translation]:
        """Translations of some of a text's lines.

        Args:
            texts: sentences, or names of pictures
            numbers: of these lines in the text, from 0: a line's draws follow from its number
            file, options: as in `stream`

        Raises:
            UserError: for a picture that cannot be read
        """
        chosen = replace(self.options, **options)
        if chosen.replace_unknown and self.reader.grid is not None:
            raise UserError("unknown pieces cannot be replaced: a picture has no words")

        def look(started: Started) -> list[list[Hypothesis]]:
            return started.search(chosen, [numbers[row] for row in started.rows])

        def place(row: int) -> str:
            return f"{file}:{numbers[row] + 1}" if file else ""

        return self._window(texts, chosen, look, place)

    def score(
        self, texts: Sequence[str], targets: Sequence[str], **options: Any
    ) -> list[Translation]:
        """What the model thinks of given translations, and where it looks while reading them.

        Raises:
            UserError: when there are not as many translations as sentences
        """
        if len(texts) != len(targets):
            raise UserError(f"{len(texts)} sentences, but {len(targets)} translations to score")
        chosen = replace(self.options, **options)
        given = self.target_vocabulary.encode_batch(list(targets))

        def read(started: Started) -> list[list[Hypothesis]]:
            return started.force([given[row] for row in started.rows], chosen)

        return self._window(texts, chosen, read, lambda row: "")

    def _window(
        self,
        texts: Sequence[str],
        options: SearchOptions,
        look: Callable[[Started], list[list[Hypothesis]]],
        place: Place,
    ) -> list[Translation]:
        """Translations of the sentences of a window, whose batches `look` turns into hypotheses."""
        ids = self.reader.cut(texts)
        translations = [Translation(text) for text in texts]
        for rows in cut_batches([len(sentence) for sentence in ids], options):
            with torch.inference_mode():
                found = look(self._start(rows, texts, ids, options, place))
            for row, hypotheses in zip(rows, found, strict=True):
                pieces = self.reader.pieces(ids[row])
                best = [
                    finish(
                        texts[row],
                        pieces,
                        hypothesis,
                        self.target_vocabulary,
                        replace_unknown=options.replace_unknown,
                        grid=self.reader.grid,
                    )
                    for hypothesis in hypotheses
                ]
                if best:
                    translations[row] = replace(best[0], n_best=tuple(best))
        return translations

    def _start(
        self,
        rows: list[int],
        texts: Sequence[str],
        ids: list[list[int]],
        options: SearchOptions,
        place: Place,
    ) -> Started:
        source, mask_bs = self.reader.batch(
            [texts[row] for row in rows],
            [ids[row] for row in rows],
            lambda number: place(rows[number]),
        )
        source, mask = source.to(self.device), mask_bs.to(self.device)
        begun = [model.start(source, mask) for model in self.models]
        steps: list[Step] = [model.step for model in self.models]
        if len(begun) == 1:
            model: tuple[Step, Memory, State] = (steps[0], *begun[0])
        else:
            memories, states = zip(*begun, strict=True)
            model = (ensemble(steps), memories, states)
        target = self.target_vocabulary
        longest = [self.reader.longest(ids[row], options) for row in rows]
        return Started(rows, model, mask_bs, longest, target.bos, target.eos)


def _fingerprints(saved: SavedModel) -> tuple[str, str]:
    source = make_reader(saved.source, saved.model.encoder.grid)
    return source.fingerprint, saved.target_vocabulary.fingerprint
