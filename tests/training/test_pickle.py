"""Neither the files of a run nor the package use pickle, which can execute code."""

import ast
import zipfile
from pathlib import Path

import nmt

PACKAGE = Path(nmt.__file__).parent


def test_run_contains_no_pickle(trained: Path) -> None:
    for path in trained.rglob("*"):
        if path.is_file():
            assert not path.read_bytes()[:2].startswith(b"\x80"), path
            assert not zipfile.is_zipfile(path), path


def _uses_pickle(tree: ast.Module) -> list[str]:
    modules = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
    found = []
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found += [n.name for n in names if n.name.split(".")[0] in modules]
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in modules:
                found.append(module)
            case ast.Attribute(value=ast.Name(id="torch"), attr="load" | "save" as name):
                found.append(f"torch.{name}")
            case ast.ImportFrom(module="torch", names=names):
                found += [n.name for n in names if n.name in ("load", "save")]
            case ast.keyword(arg="allow_pickle", value=ast.Constant(value=True)):
                found.append("allow_pickle")
    return found


def test_package_does_not_use_pickle() -> None:
    assert _uses_pickle(ast.parse("import pickle\ntorch.load(f)")) == ["pickle", "torch.load"]
    files = list(PACKAGE.rglob("*.py"))
    assert len(files) > 50
    for file in files:
        assert _uses_pickle(ast.parse(file.read_text(encoding="utf-8"))) == [], file
