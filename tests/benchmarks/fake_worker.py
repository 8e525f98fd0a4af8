"""A worker without a model, whose answers are known."""

from types import SimpleNamespace
from typing import Any

from workers.ids import Array
from workers.serve import Worker, main


class FakeWorker(Worker):
    """Worker whose loss is the batch number and whose translation is the reversed source."""

    packages = ("numpy",)

    def build(self, dtype: str, device: str, options: dict[str, Any]) -> tuple[int, str]:
        if options.get("broken"):
            raise RuntimeError("no such model")
        print("a line that a system prints")
        return 7, f"{dtype} on {device}"

    def update(self, number: int) -> float:
        return float(number)

    def search(self, sentences: list[Array], beam: int, length: int | None) -> list[list[int]]:
        return [sentence.tolist()[::-1][:length] for sentence in sentences]

    def parameters(self) -> Any:
        return SimpleNamespace(state_dict=dict)


if __name__ == "__main__":
    main(FakeWorker())
