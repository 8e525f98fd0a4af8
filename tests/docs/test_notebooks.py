"""The notebooks of examples/ run, and contain the outputs of their last execution."""

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import ROOT

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))


def displayed(value: Any) -> set[str]:
    """Return the representations that a notebook shows for the value of a cell."""
    kinds = {"html": "text/html", "png": "image/png"}
    return {
        name
        for kind, name in kinds.items()
        if (represent := getattr(value, f"_repr_{kind}_", None)) is not None and represent()
    }


def execute(source: str, namespace: dict[str, Any]) -> Any:
    """Execute the code of a cell; return the value of its last line if it is an expression."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), namespace)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "cell", "eval"), namespace)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_runs_and_its_stored_outputs_are_of_the_same_kinds(
    notebook: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content = json.loads(notebook.read_text(encoding="utf-8"))
    assert (content["nbformat"], content["metadata"]["language_info"]["name"]) == (4, "python")
    namespace: dict[str, Any] = {"__name__": "notebook"}
    for cell in content["cells"]:
        if cell["cell_type"] != "code":
            continue
        value = execute("".join(cell["source"]), namespace)
        outputs = cell["outputs"]
        assert all(output["output_type"] in ("stream", "execute_result") for output in outputs)
        stored = [output["data"] for output in outputs if "data" in output]
        assert len(stored) == (value is not None)
        for data in stored:
            assert data.keys() == displayed(value) | {"text/plain"}


def test_examples_contain_a_notebook() -> None:
    assert NOTEBOOKS
