"""`--help` and `--version` of every command."""

import sys
from pathlib import Path
from subprocess import run

import pytest

from nmt.cli import compare, evaluate, export, init, plot, serve, train, translate
from nmt.cli.arguments import METRICS
from nmt.cli.common import Parser
from nmt.evaluation import metrics

HEAVY = {
    *("torch", "numpy", "pydantic", "sentencepiece", "sacrebleu", "matplotlib"),
    *("fastapi", "uvicorn", "prometheus_client", "jinja2", "optuna", "onnx", "ctranslate2"),
}


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("init", "--languages --columns --valid --test -o --clean --minutes --seed --device FILE"),
        ("train", "--run --restart --check --device --list --schema CONFIG.yaml"),
        (
            "translate",
            "-m --checkpoint -o -b --beam-size --batch-tokens --max-length --length-penalty "
            "--alpha --coverage-penalty --beta --block-ngram-repeat --stop --replace-unknown "
            "--sample --temperature --top-k --top-p --seed --device --precision --recurrence "
            "--n-best --scores --alignments --alignment-level --jsonl --force INPUT",
        ),
        (
            "evaluate",
            "-m --metrics --tokenize --lowercase --baseline --json --alignments --gold REFERENCE",
        ),
        ("plot", "--metrics --x -o --output RUN"),
        (
            "export",
            "--hub --ctranslate2 --onnx --checkpoint --precision --name --license --scores RUN",
        ),
        ("serve", "--host --port --pair --precision --batch-wait --queue --api-keys --cors MODEL"),
        (
            "compare",
            "--grid --seeds --tune --test --baseline --metrics --tokenize --sentence --checkpoint "
            "--beam-size -o --output --device SYSTEM",
        ),
    ],
)
def test_help_lists_every_option_without_importing_heavy_libraries(
    command: str, options: str, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        f"from nmt.cli.{command} import main\n"
        "for option in ('--help', '--version'):\n"
        "    try:\n"
        "        main([option])\n"
        "    except SystemExit as left:\n"
        "        assert left.code == 0\n"
        f"heavy = {HEAVY}\n"
        "print('imported', sorted(heavy & set(sys.modules)))\n"
    )
    root = Path(__file__).parents[2]
    found = run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    words = found.stdout.replace(",", " ").replace("[", " ").replace("]", " ").split()
    assert [option for option in options.split() if option not in words] == []
    name = {"evaluate": "nmt-eval"}.get(command, f"nmt-{command}")
    assert found.stdout.splitlines()[-2].startswith(f"{name} ")
    assert found.stdout.splitlines()[-1] == "imported []"
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("parser", "groups"),
    [
        (init._parser(), ["text", "output", "training", "runtime"]),
        (train._parser(), ["experiment", "output", "runtime", "information, without training"]),
        (
            translate.make_parser(),
            ["model", "search", "sampling", "output", "runtime"],
        ),
        (
            evaluate._parser(),
            ["files", "metrics", "word alignments", "output", "model", "search", "runtime"],
        ),
        (plot._parser(), ["runs", "plot", "output"]),
        (export._parser(), ["files", "model", "model card"]),
        (serve._parser(), ["models", "interface", "limits", "runtime"]),
        (compare._parser(), ["systems", "evaluation", "search", "output", "runtime"]),
    ],
    ids=["init", "train", "translate", "evaluate", "plot", "export", "serve", "compare"],
)
def test_options_are_grouped_and_state_their_defaults(parser: Parser, groups: list[str]) -> None:
    found = {group.title: group._group_actions for group in parser._action_groups}
    assert set(groups) <= set(found)
    for title in groups:
        for action in found[title]:
            assert action.help
            # Neither a file, nor a model, nor a request for information has a default.
            if title.startswith("information") or action.dest == "model":
                continue
            if action.option_strings and action.dest not in ("alpha", "beta"):
                assert "default" in action.help, action.dest


def test_metrics_of_the_options_are_those_of_the_module() -> None:
    assert METRICS == metrics.METRICS


@pytest.mark.parametrize("words", [["--output=--"], ["-o=--"], ["-o--"]])
def test_dashes_are_no_value_of_an_option(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        translate.main(["-m", "run", *words])
    assert left.value.code == 2
    assert "expected a value, got '--'" in capsys.readouterr().err
