"""Translation by CTranslate2: commands whose output is that of the search of this package.

The engine is a large package, so most of these tests run only where it is installed.
"""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nmt.errors import UserError
from nmt.search.translator import Translator
from tests.commands import PHRASES, Called, nmt_eval, nmt_export, nmt_train, nmt_translate
from tests.conftest import tiny_experiment

NUMBER = re.compile(r"-?[0-9]+\.[0-9]{4}")
ENGINE = ["--backend", "ctranslate2"]
LAYERS = {"type": "transformer", "layers": 2, "heads": 2, "feed_forward_size": 24, "dropout": 0.0}


def train_transformer(file: Path, **data: Any) -> Path:
    """Train a Transformer on the phrases, and return its run."""
    tree = tiny_experiment()
    tree["data"] |= data
    tree["model"] = {"embedding_size": 32, "encoder": LAYERS, "decoder": LAYERS | {"norm": "pre"}}
    # A model that has learned its text has few good hypotheses that end late, where the engine has
    # stopped already.
    tree["training"] |= {"epochs": 60, "keep": 1, "validate_every": 180}
    tree["training"]["optimizer"] |= {"learning_rate": 0.005}
    file.write_text(json.dumps(tree), encoding="utf-8")
    run = file.with_suffix("")
    called = nmt_train(file, "--run", run)
    assert called.code == 0, called.err
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("ctranslate2")
    folder = tmp_path_factory.mktemp("backend")
    return train_transformer(folder / "transformer.yaml", placeholders=[r"\{\w+\}"])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = PHRASES.with_suffix(".de").read_text(encoding="utf-8").splitlines()
    # An empty line, a placeholder, an unknown letter and a longer sentence among the others.
    lines = [*lines[:20], "", "Guten Morgen, {name}!", "Ωmega?", " ".join(lines[:4]), "  "]
    file = tmp_path / "text.de"
    file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return file


def both(*arguments: object) -> tuple[Called, Called]:
    """Run nmt-translate without and with the engine."""
    own, engine = (nmt_translate(*arguments, *options) for options in ([], ENGINE))
    assert own.code == engine.code == 0, engine.err
    assert engine.err == own.err
    return own, engine


def equal_lines(one: Called, other: Called) -> bool:
    """Return whether the lines of two outputs are equal but for the rounding of numbers."""
    texts = [NUMBER.sub("#", called.out) for called in (one, other)]
    numbers = [[*map(float, NUMBER.findall(called.out))] for called in (one, other)]
    return texts[0] == texts[1] and numbers[0] == pytest.approx(numbers[1], rel=1e-4, abs=2e-4)


def near(one: object, other: object) -> bool:
    """Return whether two JSON values are equal but for the rounding of numbers."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(near(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(near, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return one == pytest.approx(other, rel=1e-4, abs=1e-5)
    return one == other


@pytest.mark.parametrize(
    "options",
    [
        ["-b", 1],
        ["-b", 5, "--scores"],
        ["-b", 3, "--n-best", 3, "--length-penalty", "gnmt", "--alpha", 0.6],
        ["-b", 2, "--n-best", 4, "--length-penalty", "none"],
        ["-b", 4, "--max-length", 12, "--n-best", 4],
        ["-b", 4, "--mbr", "chrf", "--batch-sentences", 3],
        ["-b", 4, "--replace-unknown"],
    ],
    ids=lambda options: " ".join(map(str, options)),
)
def test_translations_are_those_of_torch(run: Path, source: Path, options: list[object]) -> None:
    own, engine = both("-m", run, source, *options)
    assert len({*own.lines}) > 10
    assert equal_lines(own, engine)


@pytest.mark.parametrize(
    "options", [["-b", 1], ["-b", 4, "--n-best", 4], ["-b", 4, "--mbr", "bleu"]]
)
def test_json_lines_have_the_same_fields(run: Path, source: Path, options: list[object]) -> None:
    found = both("-m", run, source, "--jsonl", *options)
    own, engine = ([json.loads(line) for line in one.lines] for one in found)
    assert len(own) == 25
    assert near(own, engine)
    # Each row of attention belongs to its own sentence.
    assert any(one["attention"] for one in own)


def test_alignments_and_given_translations_are_those_of_torch(
    run: Path, source: Path, tmp_path: Path
) -> None:
    links, target = tmp_path / "links", tmp_path / "target"
    both("-m", run, source, "-o", target)
    written = []
    for options in ([], ENGINE):
        assert nmt_translate("-m", run, source, "--alignments", links, *options).code == 0
        written.append(links.read_text())
    assert written[0] == written[1] != ""
    page = tmp_path / "page.html"  # without the alternatives that a report has otherwise
    assert nmt_translate("-m", run, source, "--report", page, *ENGINE).code == 0
    own, engine = both("-m", run, source, "--score-targets", target, "--scores")
    assert equal_lines(own, engine)


def test_evaluation_and_workers_use_the_engine(run: Path, tmp_path: Path) -> None:
    files = [f"{PHRASES}.de", f"{PHRASES}.en"]
    own, engine = (nmt_eval("-m", run, *files, "--json", *options) for options in ([], ENGINE))
    assert json.loads(engine.out) == json.loads(own.out)
    links = tmp_path / "links"
    links.write_text("0-0\n")
    # Options of the same names in nmt-translate are outputs that the engine lacks.
    alignments = ["--alignments", links, "--gold", links]
    assert '"aer"' in nmt_eval("-m", run, *files, "--json", *alignments, *ENGINE).out
    own, engine = both("-m", run, files[0], "--workers", 2)
    assert equal_lines(own, engine)


def test_integers_of_a_bundle_are_the_default(run: Path, source: Path, tmp_path: Path) -> None:
    bundle = tmp_path / "a.nmt"
    assert nmt_export(run, bundle, "--precision", "int8").code == 0
    engine = nmt_translate("-m", bundle, source, "--scores", *ENGINE)
    chosen = nmt_translate("-m", bundle, source, "--scores", "--precision", "int8", *ENGINE)
    exact = nmt_translate("-m", bundle, source, "--scores", "--precision", "fp32", *ENGINE)
    assert engine == chosen
    assert engine.out != exact.out


def test_words_from_right_to_left_rerank_and_translate(
    run: Path, source: Path, tmp_path: Path
) -> None:
    other = train_transformer(
        tmp_path / "reverse.yaml", target_order="right_to_left", vocabulary={"type": "word"}
    )
    own, engine = both("-m", other, source, "-b", 3, "--scores")
    assert len({*own.lines}) > 10
    assert equal_lines(own, engine)
    own, engine = both("-m", run, source, "-b", 3, "--rerank", other, "--scores")
    assert equal_lines(own, engine)


def test_translation_does_not_depend_on_its_batch(run: Path, source: Path) -> None:
    translator = Translator.load(run, device="cpu", backend="ctranslate2")
    lines = source.read_text(encoding="utf-8").splitlines()
    # The maximum length of the short ones is exceeded by hypotheses within that of the longest.
    translator.change_options({"beam_size": 6, "early_stopping": "exact"})
    together = translator.translate(lines, n_best=6)
    for one, line in zip(together, lines, strict=True):
        (alone,) = translator.translate([line], n_best=6)
        assert [other.text for other in alone.n_best] == [other.text for other in one.n_best]
        assert alone.score == pytest.approx(one.score, abs=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--sample"], "--sample: is not possible with --backend ctranslate2"),
        (["--mbr", "chrf", "--sample"], "--sample: is not possible"),
        (["--jsonl", "--quality"], "--quality: is not possible"),
        (["--jsonl", "--alternatives", 2], "--alternatives: is not possible"),
        (["--jsonl", "--beam-tree"], "--beam-tree: is not possible with --backend ctranslate2"),
        (["--shortlist"], "--shortlist: is not possible"),
        (["--block-ngram-repeat", 2], "--block-ngram-repeat: is not possible"),
        (["--coverage-penalty", "gnmt"], "coverage_penalty: is not possible"),
        (["--prefix", "text.de"], "--prefix: is not possible"),
        (["--terms", "text.de"], "--terms: is not possible"),
        (["--keep-tag", "x"], "--keep-tag: is not possible"),
        (["--report", "a.html", "--heads"], "--heads: is not possible"),
        (["--score-targets", "text.de", "--alignments", "a"], "--alignments: is not possible with"),
        (["--fast"], "--fast: is not possible with --backend ctranslate2; use --precision int8"),
        (["--recurrence", "graph"], "--recurrence: has no effect with --backend ctranslate2"),
        (["--precision", "tf32"], "precision tf32: is not possible with backend ctranslate2; use"),
        (["-m", "RUN"], "-m: --backend ctranslate2 has no ensembles; give one model"),
    ],
    ids=lambda value: " ".join(map(str, value)) if isinstance(value, list) else "",
)
def test_options_that_the_engine_lacks_are_refused(
    run: Path, source: Path, monkeypatch: pytest.MonkeyPatch, options: list[object], words: str
) -> None:
    monkeypatch.chdir(source.parent)
    options = [run if one == "RUN" else one for one in options]
    called = nmt_translate("-m", run, source, *options, *ENGINE)
    assert words in called.complaint


def test_sentence_beyond_the_positions_is_refused(run: Path) -> None:
    called = nmt_translate("-m", run, "-b", 1, *ENGINE, given="Ja.\n" + "Ja " * 2100 + "\n")
    assert called.complaint.startswith("nmt-translate: standard input:2: CTranslate2: ")
    assert "positions >= 2048" in called.complaint
    assert called.complaint.endswith("shorten the sentence, or use backend torch")


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.translate(["Ja."], terms=["a"]), "constraints: is not possible with"),
        (lambda t: t.intervene("Ja.", pieces=["a"]), "interventions: is not possible with"),
        (lambda t: t.translate(["Ja."], sampling={}), "sampling: is not possible with"),
        (lambda t: t.encode(["Ja."]), "encode requires backend torch"),
        (lambda t: t.attention_views([], [], t.options), "attention_views requires backend torch"),
    ],
    ids=["terms", "intervene", "sampling", "encode", "attention_views"],
)
def test_methods_that_the_engine_lacks_are_refused(run: Path, call: Any, words: str) -> None:
    translator = Translator.load(run, device="cpu", backend="ctranslate2")
    with pytest.raises(UserError, match=words):
        call(translator)


def test_other_models_are_refused(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = nmt_translate("-m", trained, *ENGINE, given="Ja.\n")
    message = "backend ctranslate2: requires the encoder and the decoder transformer"
    assert f"{trained}: {message}; use backend torch" in called.complaint
    with pytest.raises(UserError, match="backend 'onnx': must be one of torch, ctranslate2"):
        Translator.load(trained, backend="onnx")
    (tmp_path / "model.bin").write_bytes(b"")
    called = nmt_translate("-m", tmp_path, *ENGINE, given="Ja.\n")
    assert "give the run or bundle that it was exported from" in called.complaint
