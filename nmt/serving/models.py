"""The models of a service, by name and by languages, and their replacement while it runs."""

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from nmt.data.languages import language_code, language_name
from nmt.errors import UserError
from nmt.serving.engine import Engine
from nmt.serving.worker import Load

log = logging.getLogger("nmt.serving")

AUTO = "auto"


class ModelSpec(NamedTuple):
    """A model of the command line.

    Attributes:
        path: run directory or bundle
        load: picklable function that loads it
        pair: codes of source and target; None for those of its training
    """

    path: str
    load: Load
    pair: tuple[str, str] | None = None


class ServedModel(NamedTuple):
    """A loaded model.

    Attributes:
        name: name in requests
        source, target: language codes
        engine: process that translates
        spec: where it came from
    """

    name: str
    source: str
    target: str
    engine: Engine
    spec: ModelSpec


class Models:
    """The models of a service.

    Args:
        specs: models to load, the preferred one of a pair first
        batch_wait: see `Engine`
        observe: called with the name of a model and the numbers of jobs and sentences of a round
    """

    def __init__(
        self,
        specs: Sequence[ModelSpec],
        batch_wait: float,
        observe: Callable[[str, int, int], None] = lambda *_: None,
    ) -> None:
        self._specs, self._batch_wait, self._observe = specs, batch_wait, observe
        self._models: dict[str, ServedModel] = {}
        self._replacing = asyncio.Lock()

    def __iter__(self) -> Iterator[ServedModel]:
        return iter(self._models.values())

    async def load(self) -> None:
        """Load all models.

        Raises:
            UserError: if one cannot be loaded, or its languages are unknown
        """
        names = _unique_names([spec.path for spec in self._specs])
        found = await asyncio.gather(*map(self._start, names, self._specs), return_exceptions=True)
        self._models = {one.name: one for one in found if isinstance(one, ServedModel)}
        for one in found:
            if isinstance(one, BaseException):
                await self.close()
                raise one

    async def replace(self) -> None:
        """Load all models again, each in place of its predecessor, which finishes its requests.

        A model that cannot be loaded leaves its predecessor in place.
        """
        async with self._replacing:
            for old in list(self._models.values()):
                try:
                    new = await self._start(old.name, old.spec)
                except UserError as error:
                    log.error("%s: stays, because it cannot be loaded again: %s", old.name, error)
                    continue
                self._models[old.name] = new
                await old.engine.close()
                log.warning("%s: replaced by the model that is now in %s", old.name, old.spec.path)

    async def close(self) -> None:
        """Finish all requests, and end the processes."""
        await asyncio.gather(*(model.engine.close() for model in self))

    async def _start(self, name: str, spec: ModelSpec) -> ServedModel:
        observe = self._observe
        engine = Engine(spec.load, self._batch_wait, lambda jobs, lines: observe(name, jobs, lines))
        info = await engine.start()
        for warning in info.warnings:
            log.warning("%s: %s", name, warning)
        try:
            source, target = _pair(spec, info.languages, is_text=info.is_text)
        except UserError:
            await engine.close()
            raise
        return ServedModel(name, source, target, engine, spec)

    @property
    def sources(self) -> list[str]:
        """Return the codes of the source languages."""
        return list(dict.fromkeys(model.source for model in self))

    @property
    def targets(self) -> list[str]:
        """Return the codes of the target languages."""
        return list(dict.fromkeys(model.target for model in self))

    def languages(self) -> list[dict[str, object]]:
        """Return all languages with the targets of each, in the form of LibreTranslate."""
        codes = dict.fromkeys([*self.sources, *self.targets])
        return [
            {
                "code": code,
                "name": language_name(code),
                "targets": list(dict.fromkeys(m.target for m in self if m.source == code)),
            }
            for code in codes
        ]

    def named(self, name: str) -> ServedModel:
        """Return a model by its name; raises UserError if it is not loaded."""
        if name not in self._models:
            raise UserError(f"model {name} is not loaded; use one of {', '.join(self._models)}")
        return self._models[name]

    def of_pair(self, source: str, target: str) -> ServedModel:
        """Return the first model from one language to another.

        Raises:
            UserError: if no model translates this pair
        """
        source, target = (language_code(code) or code for code in (source, target))
        for code, known in ((source, self.sources), (target, self.targets)):
            if code not in known and code not in self.sources + self.targets:
                raise UserError(f"{code} is not supported")
        for model in self:
            if (model.source, model.target) == (source, target):
                return model
        name, other = language_name(target), language_name(source)
        raise UserError(
            f"{name} ({target}) is not available as a target language from {other} ({source})"
        )


def _pair(spec: ModelSpec, languages: Sequence[str], *, is_text: bool) -> tuple[str, str]:
    if not is_text:
        raise UserError("captions images; give a model that translates text", spec.path)
    if spec.pair is not None:
        return spec.pair
    if len(languages) != 2 or not all(languages):
        raise UserError(
            "does not name its languages; give them as --pair SOURCE-TARGET=MODEL", spec.path
        )
    source, target = (language_code(suffix) or suffix for suffix in languages)
    return source, target


def _unique_names(paths: Sequence[str]) -> list[str]:
    """Return the last part of each path, numbered where several are equal."""
    names: list[str] = []
    for path in paths:
        stem = name = Path(path).name.removesuffix(".nmt") or Path(path).resolve().name
        number = 1
        while name in names:
            number += 1
            name = f"{stem}-{number}"
        names.append(name)
    return names
