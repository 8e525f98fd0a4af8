"""A system without a model: what it answers follows from what it is asked, and no clock is read."""

from types import SimpleNamespace
from typing import Any

from workers.ids import Array
from workers.serve import Worker, main


class FakeWorker(Worker):
    """A batch costs its number in nats; a translation is its sentence turned round."""

    packages = ("numpy",)

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        if options.get("broken"):
            raise RuntimeError("no such model")
        print("a line that a system prints of itself")
        return 7, f"{dtype} on {device}"

    def update(self, number: int) -> float:
        return float(number)

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        return [sentence.tolist()[::-1][:length] for sentence in sentences]

    def parameters(self) -> Any:
        return SimpleNamespace(state_dict=dict)


if __name__ == "__main__":
    main(FakeWorker())
