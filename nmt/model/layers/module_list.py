"""A typed list of modules."""

from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar, cast

from torch import nn

Item = TypeVar("Item", bound=nn.Module)


class Layers(nn.ModuleList, Generic[Item]):
    """A `ModuleList` whose items have one type, which torch's own does not express."""

    def __init__(self, modules: Iterable[Item] = ()) -> None:
        super().__init__(modules)

    def __iter__(self) -> Iterator[Item]:
        # Only items of this type were added.
        return cast(Iterator[Item], super().__iter__())

    @property
    def first(self) -> Item:
        """The first item: the bottom layer of a stack."""
        return next(iter(self))
