"""Registration, look-up and construction of components, and plugins."""

import os
import py_compile
import re
import struct
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
import torch
from torch.autograd import backward

from nmt.config.loader import load_experiment
from nmt.errors import UserError
from nmt.model.build import build_model
from nmt.registry import (
    FAMILIES,
    LENGTH_PENALTIES,
    SCHEDULES,
    SCORES,
    ComponentConfig,
    Registry,
)

PLUGIN = '''\
"""A score of my own."""

import torch
from torch import Tensor

from nmt.model.attention.score import Score
from nmt.registry import SCORES


@SCORES.register("distance")
class DistanceScore(Score):
    """-|q - k|²: negative squared distance."""

    def forward(self, query_bqd: Tensor, keys_bsa: Tensor) -> Tensor:
        return -(torch.cdist(query_bqd, keys_bsa) ** 2)
'''
EXPERIMENT = """
    data: {train: train, valid: valid, source: de, target: en}
    training: {epochs: 1}
    model:
      embedding_size: 5
      encoder: {type: bilstm, hidden_size: 2}
      decoder: {type: luong, hidden_size: 4}
"""


def _experiment(folder: Path, score: str, plugin: str = "") -> Path:
    file = folder / "experiment.yaml"
    plugins = f"plugins: [{plugin}]\n" if plugin else ""
    file.write_text(f"{dedent(EXPERIMENT)}  score: {score}\n{plugins}", encoding="utf-8")
    return file


def test_a_score_of_fifteen_lines_trains(plugin_dir: Path) -> None:
    assert len(PLUGIN.splitlines()) <= 15
    (plugin_dir / "my_scores.py").write_text(PLUGIN, encoding="utf-8")
    loaded = load_experiment(_experiment(plugin_dir, "distance", "my_scores.py"))
    torch.manual_seed(1)
    model = build_model(loaded.experiment.model, 9, 9)
    source_bs, target_bt = (
        torch.tensor([[3, 4, 5], [6, 2, 0]]),
        torch.tensor([[1, 7, 8], [1, 5, 0]]),
    )
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = []
    for _ in range(3):
        outputs_btd = model(source_bs, source_bs > 0, target_bt).output_btd
        loss = -model.output_layer(outputs_btd).log_softmax(-1)[..., 4].sum()
        optimizer.zero_grad()
        backward(loss)
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True)
    assert type(model.get_submodule("decoder.attention.score")).__name__ == "DistanceScore"


def test_options_of_a_plugin_are_validated(plugin_dir: Path) -> None:
    text = PLUGIN.replace(
        "    def forward",
        "    def __init__(self, query: int, key: int, *, sharpness: float = 1.0) -> None:\n"
        "        super().__init__(query, key)\n\n    def forward",
    )
    (plugin_dir / "sharp_scores.py").write_text(text, encoding="utf-8")
    file = _experiment(plugin_dir, "{type: distance, sharpnes: 2.0}", "sharp_scores.py")
    with pytest.raises(UserError, match=r"did you mean 'sharpness'\?"):
        load_experiment(file)
    file = _experiment(plugin_dir, "{type: distance, sharpness: 2}", "sharp_scores.py")
    score = load_experiment(file).experiment.model.score
    assert score == ComponentConfig("distance", {"sharpness": 2.0})


def test_a_changed_plugin_is_read_again(plugin_dir: Path) -> None:
    for folder, option in (("one", "red"), ("two", "blue")):
        (plugin_dir / folder).mkdir()
        signature = f"    def __init__(self, q: int, k: int, *, {option}: float = 1.0) -> None: ..."
        text = PLUGIN.replace("    def forward", f"{signature}\n\n    def forward")
        (plugin_dir / folder / "colours.py").write_text(text, encoding="utf-8")
        file = _experiment(plugin_dir / folder, "distance", "colours.py")
        score = load_experiment(file).experiment.model.score
        assert score == ComponentConfig("distance", {option: 1.0})


def test_a_registered_name_is_rejected(plugin_dir: Path) -> None:
    taken = PLUGIN.replace('"distance"', '"additive"')
    (plugin_dir / "taken.py").write_text(taken, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_experiment(_experiment(plugin_dir, "additive", "taken.py"))
    assert "attention score 'additive' is already registered by nmt.model.attention.scores" in str(
        error.value
    )


def test_two_plugins_cannot_register_one_name(plugin_dir: Path) -> None:
    registry: Registry[Any] = Registry(
        "thing", "nmt.search.scoring", "NO_SUCH_CONSTANT", "builtins.object"
    )
    registry.register("mine")(test_a_registered_name_is_rejected)
    registry.register("mine")(test_a_registered_name_is_rejected)
    with pytest.raises(UserError, match=r"thing 'mine' is already registered.*choose another name"):
        registry.register("mine")(_experiment)


def test_an_unknown_component_is_reported_with_a_suggestion_and_all_names() -> None:
    with pytest.raises(UserError) as error:
        SCORES.find("aditive")
    assert str(error.value) == (
        "unknown attention score 'aditive'; did you mean 'additive'? known: " + ", ".join(SCORES)
    )


def test_a_dotted_type_is_imported(plugin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = PLUGIN.replace('@SCORES.register("distance")\n', "")
    (plugin_dir / "elsewhere_scores.py").write_text(plain, encoding="utf-8")
    monkeypatch.syspath_prepend(plugin_dir)
    loaded = load_experiment(_experiment(plugin_dir, "elsewhere_scores.DistanceScore"))
    model = build_model(loaded.experiment.model, 9, 9)
    score = model.get_submodule("decoder.attention.score")
    assert type(score) is sys.modules["elsewhere_scores"].DistanceScore
    monkeypatch.delitem(sys.modules, "elsewhere_scores")


@pytest.mark.parametrize(
    "name",
    [
        *("no_such_module.Score", "math.no_such_score", "math.pi", "os.path", ".Score", "math."),
        *("os.kill", "os.abort", "builtins.print", "builtins.exit", "torch.nn.Linear"),
        *("nmt.model.attention.score.Score", "nmt.training.schedules.Constant"),
    ],
)
def test_an_invalid_dotted_type_is_reported(plugin_dir: Path, name: str) -> None:
    with pytest.raises(
        UserError, match=r"model\.score: .*'.*; a dotted type must be MODULE\.CLASS"
    ):
        load_experiment(_experiment(plugin_dir, name))


def test_a_number_after_a_type_is_no_dotted_type() -> None:
    with pytest.raises(UserError, match=r"unknown length penalty 'average:1\.2'; did you mean"):
        LENGTH_PENALTIES.find("average:1.2")


def test_a_dotted_type_whose_module_fails_is_reported(
    plugin_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (plugin_dir / "broken_scores.py").write_text("class Score:\n  x = 1 +\n", encoding="utf-8")
    monkeypatch.syspath_prepend(plugin_dir)
    with pytest.raises(
        UserError, match=r"attention score 'broken_scores.Score' cannot be imported: .*syntax"
    ):
        load_experiment(_experiment(plugin_dir, "broken_scores.Score"))


def test_a_missing_or_failing_plugin_is_reported(plugin_dir: Path) -> None:
    with pytest.raises(UserError, match=r"experiment.yaml:\d+: plugins: not found: .*none.py"):
        load_experiment(_experiment(plugin_dir, "additive", "none.py"))
    (plugin_dir / "plugin.txt").write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"plugins: .*plugin.txt is not a Python file; its name"):
        load_experiment(_experiment(plugin_dir, "additive", "plugin.txt"))
    (plugin_dir / "failing.py").write_text("print(1 / 0)\n", encoding="utf-8")
    with pytest.raises(
        UserError, match=r"^/.*failing\.py:1: ZeroDivisionError: division .*experiment.yaml:9\)"
    ):
        load_experiment(_experiment(plugin_dir, "additive", "failing.py"))


def test_build_passes_the_options_and_reports_rejected_ones() -> None:
    penalty = LENGTH_PENALTIES.build(ComponentConfig("average", {"alpha": 0.5}))
    assert penalty(torch.tensor(-8.0), 4).item() == -4.0
    with pytest.raises(UserError, match=r"^schedule 'cosine': warmup: 5 must be less"):
        SCHEDULES.build(ComponentConfig("cosine", {"steps": 5, "warmup": 5}))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["os.kill", "os.abort", "builtins.print", "nmt.errors.UserError"])
def test_only_components_of_a_family_are_called(family: str, name: str) -> None:
    with pytest.raises(UserError, match=f"{FAMILIES[family].family} '{name}' cannot be imported"):
        FAMILIES[family].build(ComponentConfig(name))
    assert name not in FAMILIES[family].specs()


FAILING_PLUGINS = {
    "import sys\nsys.exit(3)\n": r"bad\.py:2: ends the program \(SystemExit: 3\)",
    "\n\nraise BaseException('odd')\n": r"bad\.py:3: BaseException: odd",
    "raise GeneratorExit\n": r"bad\.py:1: GeneratorExit",
    "def f():\n    return 1 / 0\n\nf()\n": r"bad\.py:2: ZeroDivisionError",
    "x = (\n": r"bad\.py:1: SyntaxError: '\(' was never closed",
    "x = 1\0\n": r"bad\.py.*: SyntaxError",
    "from nmt.registry import SCORES\n\nSCORES.register('dot')(print)\n": (
        r"bad\.py:3: attention score 'dot' is already registered"
    ),
}


@pytest.mark.parametrize(("text", "message"), FAILING_PLUGINS.items(), ids=FAILING_PLUGINS.values())
def test_a_failing_plugin_is_reported_with_its_own_line_first(
    plugin_dir: Path, text: str, message: str
) -> None:
    (plugin_dir / "bad.py").write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as error:
        load_experiment(_experiment(plugin_dir, "additive", "bad.py"))
    (line,) = error.value.lines
    assert re.search(f"^/[^ ]*{message}", line), line
    assert line.endswith("experiment.yaml:9)")
    assert "nmt_plugin_bad" not in sys.modules


def test_a_plugin_is_a_regular_python_file(plugin_dir: Path) -> None:
    (plugin_dir / "folder.py").mkdir()
    os.mkfifo(plugin_dir / "pipe.py")
    (plugin_dir / "loop.py").symlink_to("loop.py")
    (plugin_dir / "plain").write_text("", encoding="utf-8")
    messages = {
        "folder.py": "cannot be read: is a directory",
        "pipe.py": "cannot be read: is a named pipe",
        "loop.py": "cannot be read: Too many levels of symbolic links",
        "plain": "is not a Python file; its name must end in .py",
        f"{'a' * 300}.py": "cannot be read: File name too long",
        '"\\0.py"': "cannot be read: embedded null byte",
    }
    for name, message in messages.items():
        with pytest.raises(UserError, match=rf"experiment\.yaml:9: plugins: .*{message}"):
            load_experiment(_experiment(plugin_dir, "additive", name))


def test_a_compiled_file_next_to_a_plugin_is_not_run(plugin_dir: Path) -> None:
    plugin = plugin_dir / "scores.py"
    plugin.write_text("raise SystemExit\n", encoding="utf-8")
    cached = Path(py_compile.compile(str(plugin), doraise=True) or "")
    text = PLUGIN.ljust(1000, "#")
    plugin.write_text(text, encoding="utf-8")
    # The cached file claims the time and the size of the source.
    status = plugin.stat()
    header = struct.pack("<II", int(status.st_mtime), status.st_size)
    content = cached.read_bytes()
    cached.write_bytes(content[:8] + header + content[16:])
    load_experiment(_experiment(plugin_dir, "distance", "scores.py"))
