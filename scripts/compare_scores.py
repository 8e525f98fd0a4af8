"""Every decoder with every score on one task: exact match on unseen test pairs, as one table.

    python scripts/compare_scores.py --config configs/date_format.yaml --output runs/date_format

Trains through nmt-train, one run after another; a run that is finished is not trained again. A test
pair counts as unseen when it does not stand in the training text.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from nmt.config.load import load_experiment
from nmt.data.corpus import resolve
from nmt.registry import DECODERS, MECHANISMS, SCORES
from nmt.search.translator import Translator


def main() -> None:
    """Train, translate, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=Path("configs/date_format.yaml"))
    parser.add_argument("--output", type=Path, default=Path("runs/date_format"))
    parser.add_argument("overrides", nargs="*", metavar="section.key=value")
    options = parser.parse_args()
    data = load_experiment(options.config).experiment.data
    seen = set(resolve(data.train, data.source, data.target).pairs())
    test = resolve(data.valid, data.source, data.target).pairs()
    unseen = [pair for pair in test if pair not in seen]
    decoders = [name for name, part in DECODERS.parts().items() if "attention" in part.wired]
    assert "score" in MECHANISMS.find("global").wired
    rows = {}
    for score in SCORES:
        for decoder in decoders:
            run = options.output / f"{decoder}-{score}"
            _train(options.config, run, decoder, score, options.overrides)
            rows[decoder, score] = _measure(run, unseen)
            print(f"{decoder} {score}: {rows[decoder, score]}", file=sys.stderr)
    (options.output / "table.json").write_text(
        json.dumps({f"{d} {s}": row for (d, s), row in rows.items()}, indent=1) + "\n"
    )
    print(_table(rows, decoders, len(unseen)))


def _train(config: Path, run: Path, decoder: str, score: str, overrides: list[str]) -> None:
    parts = [f"model.decoder.type={decoder}", f"model.score={score}", *overrides]
    command = [sys.executable, "-m", "nmt.cli.train", str(config), *parts, "--run", str(run)]
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)


def _measure(run: Path, pairs: list[tuple[str, str]]) -> dict[str, float]:
    """Percent of the pairs that are translated exactly, and the minutes that training took."""
    translations = Translator.load(run, checkpoint="last").translate(s for s, _ in pairs)
    right = sum(one.text == target for one, (_, target) in zip(translations, pairs, strict=True))
    state = json.loads((run / "checkpoints" / "last" / "state.json").read_text())
    return {"exact": 100 * right / len(pairs), "minutes": state["minutes"]}


def _table(rows: dict[tuple[str, str], dict[str, float]], decoders: list[str], pairs: int) -> str:
    lines = [f"Exact match on {pairs} unseen test pairs, in percent (minutes of training):", ""]
    lines += ["| score | " + " | ".join(decoders) + " |", "| --- |" + " --- |" * len(decoders)]
    for score in SCORES:
        cells = [rows[decoder, score] for decoder in decoders]
        shown = [f"{cell['exact']:.2f} ({cell['minutes']:.1f})" for cell in cells]
        lines.append(f"| {score} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
