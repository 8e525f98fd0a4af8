"""What is read from source text is what the imported part says of itself."""

import re
from typing import Any

import pytest

from nmt.component_spec import REQUIRED, ComponentSpec, spec_of
from nmt.registry import FAMILIES, Registry

PARTS = [
    pytest.param(registry, part, id=f"{family}-{part.name}")
    for family, registry in FAMILIES.items()
    for part in registry.specs().values()
]
every_part = pytest.mark.parametrize(("registry", "part"), PARTS)


@every_part
def test_the_description_from_source_is_that_of_the_imported_part(
    registry: Registry[Any], part: ComponentSpec
) -> None:
    imported = spec_of(part.name, registry.load(part.name))
    assert part == imported
    assert list(part.options) == list(imported.options)


@every_part
def test_every_option_has_a_meaning(registry: Registry[Any], part: ComponentSpec) -> None:
    for name, option in part.options.items():
        assert len(option.help.split()) >= 2, name


@every_part
def test_every_part_says_what_it_is(registry: Registry[Any], part: ComponentSpec) -> None:
    assert len(part.summary.split()) >= 3
    assert "Args:" not in part.summary


@every_part
def test_parts_of_a_model_and_optimizers_name_their_source(
    registry: Registry[Any], part: ComponentSpec
) -> None:
    if part.module.startswith(("nmt.model", "nmt.training.optimizers")):
        assert re.search(r"\b(19|20)\d\d\b", part.summary)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_has_parts_of_its_home(family: str) -> None:
    registry = FAMILIES[family]
    assert registry.specs()
    for part in registry.specs().values():
        assert part.module.startswith(registry.home)


def test_a_description_holds_what_the_constructor_says() -> None:
    def part(width: int, source: str, *, size: int, rate: float = 0.5, kind: Any = None) -> None:
        """Does a thing over
        two lines. Somebody 1999.

        Of which more is said.

        Args:
            size: units
            rate: share that
                is dropped
        """

    found = spec_of("thing", part)
    assert found.summary == "Does a thing over two lines. Somebody 1999. Of which more is said."
    assert found.injected == ("width", "source")
    assert {name: option.help for name, option in found.options.items()} == {
        "size": "units",
        "rate": "share that is dropped",
        "kind": "",
    }
    assert found.options["size"].default is REQUIRED
    assert found.defaults == {"rate": 0.5, "kind": None}
    assert found.options["rate"].annotation is float
