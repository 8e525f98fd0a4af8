"""Specifications of components, read from the source and from the imported object."""

import re
from typing import Any

import pytest

from nmt.component_spec import REQUIRED, ComponentSpec, spec_of
from nmt.registry import FAMILIES, AnyRegistry

SPECS = [
    pytest.param(registry, spec, id=f"{family}-{spec.name}")
    for family, registry in FAMILIES.items()
    for spec in registry.specs().values()
]
every_component = pytest.mark.parametrize(("registry", "spec"), SPECS)


@every_component
def test_source_and_imported_object_have_the_same_spec(
    registry: AnyRegistry, spec: ComponentSpec
) -> None:
    imported = spec_of(spec.name, registry.load(spec.name))
    assert spec == imported
    assert list(spec.options) == list(imported.options)


@every_component
def test_every_option_has_help(registry: AnyRegistry, spec: ComponentSpec) -> None:
    for name, option in spec.options.items():
        assert len(option.help.split()) >= 2, name


@every_component
def test_every_component_has_a_summary(registry: AnyRegistry, spec: ComponentSpec) -> None:
    assert len(spec.summary.split()) >= 3
    assert "Args:" not in spec.summary


@every_component
def test_summaries_of_models_and_optimizers_cite_a_paper(
    registry: AnyRegistry, spec: ComponentSpec
) -> None:
    if spec.module.startswith(("nmt.model", "nmt.training.optimizers")):
        assert re.search(r"\b(19|20)\d\d\b", spec.summary)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_contains_the_components_of_its_package(family: str) -> None:
    registry = FAMILIES[family]
    assert registry.specs()
    for spec in registry.specs().values():
        assert spec.module.startswith(registry.home)


def test_a_spec_contains_the_signature_and_the_docstring() -> None:
    def component(width: int, source: str, *, size: int, rate: float = 0.5, kind: Any = 0) -> None:
        """Does a thing over
        two lines. Somebody 1999.

        Details of no interest to a list.

        Args:
            size: units
            rate: share that
                is dropped
        """

    spec = spec_of("thing", component)
    assert spec.summary == "Does a thing over two lines. Somebody 1999."
    assert spec.injected == ("width", "source")
    assert {name: option.help for name, option in spec.options.items()} == {
        "size": "units",
        "rate": "share that is dropped",
        "kind": "",
    }
    defaults = {name: option.default for name, option in spec.options.items()}
    assert defaults == {"size": REQUIRED, "rate": 0.5, "kind": 0}
    assert spec.options["rate"].annotation is float
