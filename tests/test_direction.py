"""Imports follow the order of packages, and help and config errors import no heavy library."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file
    for file in sorted((ROOT / "nmt").rglob("*.py"))
}
# Modules of one level may import each other.
LEVELS = [
    ("nmt.errors", "nmt.version"),
    ("nmt.component_spec", "nmt.files"),
    ("nmt.registry",),
    ("nmt.config",),
    (
        "nmt.device",
        "nmt.cuda_graphs",
        "nmt.kernels",
        "nmt.kernel_trial",
        "nmt.native",
        "nmt.cpu_tuning",
        "nmt.parallel",
        "nmt.prefetch",
        "nmt.storage",
        "nmt.distributed",
    ),
    ("nmt.data", "nmt.examples"),
    ("nmt.model",),
    ("nmt.inference",),
    ("nmt.search",),
    ("nmt.evaluation",),
    ("nmt.training",),
    ("nmt.api",),
    ("nmt.export",),
    ("nmt.comparison",),
    ("nmt.serving",),
    ("nmt.cli",),
]
MODEL_LEVELS = [
    ("nmt.model.interfaces",),
    ("nmt.model.layers",),
    ("nmt.model.recurrence", "nmt.model.encoders", "nmt.model.attention"),
    ("nmt.model.decoders",),
    ("nmt.model.seq2seq",),
    ("nmt.model.build",),
    ("nmt.model.weights",),
]
HEAVY = ("torch", "sentencepiece", "matplotlib", "sacrebleu")
COMMANDS = [m for m, file in MODULES.items() if ".cli." in m and "def main(" in file.read_text()]
# Models, updates and search run on machines without the libraries that read experiments and text.
BARE = [
    "nmt.model.build",
    "nmt.training.optimizers",
    "nmt.training.trainer",
    "nmt.inference.compile",
    "nmt.search.beam",
]
# Plots and captioning are extras.
CORE = [
    "nmt.training.run",
    "nmt.training.dry_run",
    "nmt.evaluation.samples",
    "nmt.cli.translate_io",
]
NOT_CORE = ("matplotlib", "PIL")
NOT_BARE = ("pydantic", "yaml", "sentencepiece", "matplotlib", "sacrebleu")
LIGHT = ["nmt", "nmt.config.loader", "nmt.config.export", "nmt.cli.common", *COMMANDS]


def _executed(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield all nodes but those under `if TYPE_CHECKING:`, which only type checkers read."""
    nodes: list[ast.AST] = [tree]
    while nodes:
        node = nodes.pop(0)
        yield node
        match node:
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                nodes += node.orelse
            case _:
                nodes += ast.iter_child_nodes(node)


def _imported(file: Path) -> Iterator[tuple[int, str]]:
    """Yield line and module of every import of this package, inside functions as well."""
    for node in _executed(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: relative imports hide the direction"
            inner = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in MODULES else str(node.module) for name in inner]
        else:
            continue
        yield from (
            (node.lineno, name) for name in names if name.split(".")[0] in ("nmt", "scripts")
        )


def _level(module: str, levels: list[tuple[str, ...]]) -> int | None:
    for number, packages in enumerate(levels):
        if any(module == p or module.startswith(f"{p}.") for p in packages):
            return number
    return None


@pytest.mark.parametrize("package", sorted({m.split(".")[1] for m in MODULES if m != "nmt"}))
def test_imports_only_point_down(package: str) -> None:
    for module in (m for m in MODULES if f"{m}.".startswith(f"nmt.{package}.")):
        own, inside = _level(module, LEVELS), _level(module, MODEL_LEVELS)
        assert own is not None, f"{module} has no place in the order"
        if module.startswith("nmt.model."):
            assert inside is not None, f"{module} has no place in the order inside nmt.model"
        for line, imported in _imported(MODULES[module]):
            where = f"{MODULES[module]}:{line}: {module} imports {imported}"
            below = _level(imported, LEVELS)
            assert below is not None, where
            assert below <= own, where
            below_inside = _level(imported, MODEL_LEVELS)
            if inside is not None and below_inside is not None:
                assert below_inside <= inside, where


def test_modules_at_the_bottom_import_nothing_of_ours() -> None:
    for module in ("nmt.errors", "nmt.version", "nmt.component_spec", "nmt.model.interfaces"):
        assert list(_imported(MODULES[module])) == [], module


@pytest.mark.parametrize(
    ("modules", "excluded"), [(LIGHT, HEAVY), (BARE, NOT_BARE), (CORE, NOT_CORE)]
)
def test_libraries_are_not_imported_where_they_are_not_needed(
    modules: list[str], excluded: tuple[str, ...]
) -> None:
    code = (
        "import importlib, sys\n"
        f"for module in {modules!r}:\n"
        "    importlib.import_module(module)\n"
        f"    for heavy in set(sys.modules) & set({excluded!r}):\n"
        "        sys.exit(f'{module} imports {heavy}')\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert found.returncode == 0, found.stderr


def test_the_order_is_checked_inside_functions_too(tmp_path: Path) -> None:
    file = tmp_path / "module.py"
    file.write_text("def f():\n    from nmt.cli import train\n    import nmt.training.loss\n")
    assert list(_imported(file)) == [(2, "nmt.cli.train"), (3, "nmt.training.loss")]
