"""Compare decoders and scores on one task: exact match on unseen test pairs, as a table.

    python scripts/compare_scores.py --config configs/date_format.yaml --output runs/date_format

nmt-train trains one model after the other; finished runs are not trained again. A test pair is
unseen if it is not in the training text.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import Pair, exact_match, markdown, train, valid_pairs
from nmt.config.loader import load_experiment
from nmt.registry import DECODERS, MECHANISMS, SCORES
from nmt.search.translator import Translator
from nmt.storage.checkpoint import read_state
from nmt.storage.run_dir import RunDir


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and evaluate every combination, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--config", type=Path, default=Path("configs/date_format.yaml"), metavar="FILE"
    )
    parser.add_argument("--output", type=Path, default=Path("runs/date_format"))
    attending = [name for name, spec in DECODERS.specs().items() if "attention" in spec.injected]
    parser.add_argument(
        "--decoders", nargs="+", choices=attending, default=["bahdanau", "luong"], metavar="NAME"
    )
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    options = parser.parse_args(arguments)
    _, unseen = valid_pairs(load_experiment(options.config).experiment.data)
    decoders = options.decoders
    assert "score" in MECHANISMS.find("global").injected
    rows = {}
    for score in SCORES:
        for decoder in decoders:
            run = options.output / f"{decoder}-{score}"
            parts = [f"model.decoder.type={decoder}", f"model.score={score}"]
            train(options.config, run, [*parts, *options.overrides])
            rows[decoder, score] = _measure(run, unseen)
            print(f"{decoder} {score}: {rows[decoder, score]}", file=sys.stderr)
    (options.output / "table.json").write_text(
        json.dumps({f"{d} {s}": row for (d, s), row in rows.items()}, indent=1) + "\n"
    )
    print(_table(rows, decoders, len(unseen)))


def _measure(run: Path, pairs: list[Pair]) -> dict[str, float]:
    """Return exact match in percent and the minutes of training."""
    exact = exact_match(Translator.load(run, checkpoint="last"), pairs)
    state = read_state(RunDir(run).checkpoint("last"))
    return {"exact": exact, "minutes": state["minutes"]}


def _table(rows: dict[tuple[str, str], dict[str, float]], decoders: list[str], pairs: int) -> str:
    table = []
    for score in SCORES:
        cells = [rows[decoder, score] for decoder in decoders]
        table.append([score, *(f"{cell['exact']:.2f} ({cell['minutes']:.1f})" for cell in cells)])
    title = f"Exact match on {pairs} unseen test pairs, in percent (minutes of training):"
    return f"{title}\n\n{markdown(['score', *decoders], table)}"


if __name__ == "__main__":
    main()
