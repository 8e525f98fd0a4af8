"""The device of a check and its time, and the systems of `configs/` without pydantic."""

import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nmt.config.choices import TiedEmbeddings
from nmt.config.yaml_source import read_yaml
from nmt.data.images import ImageSize
from nmt.registry import DECODERS, ENCODERS, MECHANISMS, SCORES, AnyRegistry, ComponentConfig

ROOT = Path(__file__).resolve().parents[2]
COMPONENTS: dict[str, tuple[AnyRegistry, str]] = {
    "encoder": (ENCODERS, "bilstm"),
    "decoder": (DECODERS, "bahdanau"),
    "attention": (MECHANISMS, "global"),
    "score": (SCORES, "additive"),
}
"""Families and defaults of the components of a model."""

Section = dict[str, Any]


@dataclass(frozen=True)
class Context:
    """Circumstances of a check.

    Attributes:
        device_name: cuda, or cpu to test the checks with small models
        deadline: value of `time.monotonic` at which the process is killed
        config: name of a file in `configs/`, for the checks that have one
    """

    device_name: str
    deadline: float
    config: str = ""

    @property
    def device(self) -> torch.device:
        """Return the device."""
        return torch.device(self.device_name)

    @property
    def is_gpu(self) -> bool:
        """Return whether the device is a GPU."""
        return self.device_name == "cuda"

    @property
    def seconds_left(self) -> float:
        """Return the time until the process is killed."""
        return self.deadline - time.monotonic()

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.is_gpu:
            torch.cuda.synchronize()


@dataclass(frozen=True)
class SystemConfig:
    """The sections `model` and `data.pictures` of an experiment file.

    Equals the validated sections for valid files, which a test compares. Validation needs pydantic,
    which images with CUDA lack.
    """

    encoder: ComponentConfig
    decoder: ComponentConfig
    attention: ComponentConfig | None = None
    score: ComponentConfig | None = None
    embedding_size: int = 256
    embedding_dropout: float = 0.0
    source_word_dropout: float = 0.0
    target_word_dropout: float = 0.0
    tied_embeddings: TiedEmbeddings = "none"
    alignment_size: int | None = None
    image_size: ImageSize | None = None


def system_config(model: Section, pictures: Section | None = None) -> SystemConfig:
    """Return the system of two sections, with the default components and options."""
    section = _merge({}, model)
    encoder, decoder, mechanism, score = (
        _component(registry, section.pop(name, None) or {}, default)
        for name, (registry, default) in COMPONENTS.items()
    )
    has_attention = "attention" in DECODERS.find(decoder.type).injected
    has_score = has_attention and "score" in MECHANISMS.find(mechanism.type).injected
    return SystemConfig(
        encoder,
        decoder,
        mechanism if has_attention else None,
        score if has_score else None,
        image_size=None if pictures is None else ImageSize(**pictures),
        **section,
    )


def read_system(name: str) -> SystemConfig:
    """Return the system of a file in `configs/`."""
    return system_config(*_sections(ROOT / "configs" / f"{name}.yaml"))


def _sections(file: Path) -> tuple[Section, Section | None]:
    """Read `model` and `data.pictures` of a file over those of its includes."""
    values: Any = read_yaml(file).values
    include, pictures = values.get("include", []), None
    model: Section = {}
    for below in include if isinstance(include, list) else [include]:
        below_model, pictures = _sections(file.parent / below)
        model = _merge(model, below_model)
    own_pictures = values.get("data", {}).get("pictures", pictures)
    return _merge(model, values.get("model", {})), own_pictures


def _merge(below: Section, above: Section) -> Section:
    """Lay a section over another one; a component of the same type keeps other options."""
    merged = dict(below)
    for name, value in above.items():
        new = {"type": value} if isinstance(value, str) and name in COMPONENTS else value
        old = below.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            keeps = new.get("type", old.get("type")) == old.get("type")
            new = old | new if keeps else new
        merged[name] = new
    return merged


def _component(registry: AnyRegistry, given: Mapping[str, Any], default: str) -> ComponentConfig:
    options = {"type": default, **given}
    kind = options.pop("type")
    defaults = {name: option.default for name, option in registry.find(kind).options.items()}
    return ComponentConfig(kind, defaults | options)


def revision() -> str:
    """Return the commit of this repository; "unknown" outside of one."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
