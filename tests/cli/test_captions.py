"""Image captioning with the real commands."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmt.search.translator import Translator
from tests.cli.caption_data import make_bars, write_lines
from tests.commands import lines_of, nmt_eval, nmt_train, nmt_translate, tree_of, write_experiment
from tests.search.translations import assert_equal


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write 48 training and 12 validation images, and an experiment that trains in seconds."""
    directory = tmp_path_factory.mktemp("bars")
    make_bars(directory)
    return directory


@pytest.fixture(scope="module")
def run(bars: Path) -> Path:
    called = nmt_train(bars / "bars.yaml", "--run", bars / "run")
    assert called.code == 0, called.err
    return bars / "run"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Change to an empty directory that does not contain the images."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_model_learns_to_describe_positions(run: Path, bars: Path) -> None:
    called = nmt_translate("-m", run, bars / "valid.pictures")
    is_correct = [a == b for a, b in zip(called.lines, lines_of(bars / "valid.en"), strict=True)]
    assert sum(is_correct) >= 10
    scored = nmt_eval(
        *("-m", run, bars / "valid.pictures", bars / "valid.en"), "--metrics", "exact", "--json"
    )
    assert json.loads(scored.out)["exact"]["score"] == pytest.approx(100 * sum(is_correct) / 12)


def test_run_has_target_vocabulary_only_and_attention_plots(run: Path) -> None:
    assert [path.name for path in (run / "vocabulary").iterdir()] == ["target.model"]
    plots = {path.name for path in (run / "attention").iterdir()}
    assert plots == {"80.png", "80-2.png", "80.html"}
    samples = (run / "samples" / "80.txt").read_text(encoding="utf-8")
    assert "images/valid-0.png" in samples and "red above green" in samples


def test_continued_run_reads_no_image(
    run: Path, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: object) -> None:
        pytest.fail("an image was read")

    monkeypatch.setattr("nmt.data.images.read_image", read)
    called = nmt_train(bars / "bars.yaml", "--run", run)
    assert called.code == 0
    assert "nothing left to do" in called.err


def test_check_reports_longest_batch_and_writes_nothing(bars: Path) -> None:
    before = tree_of(bars)
    called = nmt_train(bars / "bars.yaml", "--check")
    assert called.code == 0, called.err
    assert tree_of(bars) == before
    shown = {line[:18].strip(): line[18:] for line in called.out.splitlines()}
    assert shown["training text"] == "48 pairs read, 48 kept"
    assert shown["vocabulary"] == "18 target tokens"
    assert shown["longest batch"].startswith("12 images of 3 x 16 x 16, ")


@pytest.mark.usefixtures("elsewhere")
def test_names_are_relative_to_their_file_and_empty_lines_are_kept(run: Path, bars: Path) -> None:
    expected = nmt_translate("-m", run, bars / "valid.pictures").lines
    names = lines_of(bars / "valid.pictures")
    some = write_lines(bars / "some.pictures", [names[2], "", f" {names[5]} ", " ", names[2]])
    called = nmt_translate("-m", run, some)
    assert called.lines == [expected[2], "", expected[5], "", expected[2]]


def test_names_on_standard_input_are_relative_to_the_current_directory(
    run: Path, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = nmt_translate("-m", run, bars / "valid.pictures").lines
    monkeypatch.chdir(bars / "images")
    given = f"valid-3.png\n{bars / 'images' / 'valid-4.png'}\n"
    assert nmt_translate("-m", run, given=given).lines == expected[3:5]


def test_captions_do_not_depend_on_the_batch(run: Path, bars: Path) -> None:
    translator = Translator.load(run)
    names = [str(bars / name) for name in lines_of(bars / "valid.pictures")]
    expected = translator.translate(names, n_best=2)
    for sentences in (1, 5):
        assert_equal(translator.translate(names, n_best=2, batch_sentences=sentences), expected)
    # An image counts as its 16 regions and </s>.
    assert_equal(translator.translate(names, n_best=2, batch_tokens=40), expected)


def test_jsonl_has_attention_per_region_and_no_word_alignment(run: Path, bars: Path) -> None:
    called = nmt_translate("-m", run, bars / "valid.pictures", "--jsonl", "--n-best", 2)
    translation = json.loads(called.lines[7])
    assert translation["source"] == str(bars / "images" / "valid-7.png")
    assert translation["source_pieces"] == [
        f"r{row}c{column}" for row in range(4) for column in range(4)
    ]
    assert translation["alignment"] is None
    assert len(translation["attention"]) == len(translation["piece_scores"])
    for row in translation["attention"]:
        assert len(row) == 16
        assert sum(row) == pytest.approx(1, abs=1e-5)
    assert len(translation["n_best"]) == 2


def test_alignment_level_of_images_must_be_piece(run: Path, bars: Path, tmp_path: Path) -> None:
    options = ["-m", run, bars / "valid.pictures", "--alignments", tmp_path / "links"]
    refused = nmt_translate(*options, "-o", tmp_path / "out")
    assert "an image has no words to link; add --alignment-level piece" in refused.complaint
    assert list(tmp_path.iterdir()) == []
    called = nmt_translate(*options, "--alignment-level", "piece", "--jsonl")
    translations = [json.loads(line) for line in called.lines]
    for translation, line in zip(translations, lines_of(tmp_path / "links"), strict=True):
        links = [tuple(map(int, link.split("-"))) for link in line.split()]
        best = np.array(translation["attention"])[: len(translation["pieces"])].argmax(axis=1)
        assert links == [(region, target) for target, region in enumerate(best)]


def test_replace_unknown_with_images_is_a_user_error(run: Path, bars: Path) -> None:
    called = nmt_translate("-m", run, bars / "valid.pictures", "--replace-unknown")
    assert "replace_unknown has no effect with images" in called.complaint


def test_unreadable_image_error_names_its_line(run: Path, bars: Path, tmp_path: Path) -> None:
    (bars / "images" / "text.png").write_text("hello")
    for name, message in (("gone.png", "not found; "), ("text.png", "is not an image; ")):
        lines = ["images/valid-0.png", "", f"images/{name}"]
        names = write_lines(bars / "odd.pictures", lines)
        called = nmt_translate("-m", run, names)
        assert called.complaint.startswith(
            f"nmt-translate: {names}:3: {bars / 'images' / name}: {message}"
        )
        captions = write_lines(tmp_path / "odd.en", ["a", "b", "c"])
        assert f"{names}:3: " in nmt_eval("-m", run, names, captions).complaint
    called = nmt_translate("-m", run, given="\nnowhere.png\n")
    assert "standard input:2: nowhere.png: not found; " in called.complaint


def test_missing_training_image_error_names_its_line(bars: Path, tmp_path: Path) -> None:
    names = lines_of(bars / "train.pictures")
    lines = [str(bars / name) for name in names]
    lines[6] = "gone.png"
    file = write_lines(tmp_path / "train.pictures", lines)
    write_lines(tmp_path / "train.en", lines_of(bars / "train.en"))
    called = nmt_train(bars / "bars.yaml", f"data.train={tmp_path / 'train'}", "--run", "r")
    assert called.complaint.startswith(f"nmt-train: {file}:7: {tmp_path / 'gone.png'}: not found")


def test_attention_option_writes_overlays(run: Path, bars: Path, tmp_path: Path) -> None:
    names = write_lines(bars / "two.pictures", lines_of(bars / "valid.pictures")[:2])
    called = nmt_translate("-m", run, names, "--attention", tmp_path / "plots")
    assert called.code == 0
    plots = {path.name for path in (tmp_path / "plots").iterdir()}
    assert plots == {"0.png", "1.png", "index.html"}


def test_forced_decoding_scores_captions_like_greedy_search(
    run: Path, bars: Path, tmp_path: Path
) -> None:
    found = nmt_translate("-m", run, bars / "valid.pictures", "--scores", "--beam-size", 1)
    texts, scores = zip(*(line.split("\t") for line in found.lines), strict=True)
    given = write_lines(tmp_path / "given.en", list(texts))
    forced = nmt_translate("-m", run, bars / "valid.pictures", "--force", given, "--scores")
    again = [line.split("\t")[1] for line in forced.lines]
    assert list(map(float, again)) == pytest.approx(list(map(float, scores)), abs=2e-4)


def test_translator_accepts_file_names_of_images(run: Path, bars: Path) -> None:
    translator = Translator.load(run, run)
    found = translator.translate([str(bars / "images" / "valid-0.png"), ""])
    assert found[0].text == nmt_translate("-m", run, bars / "valid.pictures").lines[0]
    assert (found[0].grid, found[1].text, found[1].grid) == ((4, 4), "", None)


def test_ensemble_of_text_and_image_models_is_a_user_error(run: Path, trained: Path) -> None:
    called = nmt_translate("-m", run, "-m", trained, given="a\n")
    assert (
        f"{trained}: has another target vocabulary than {run}; give another run" in called.complaint
    )


def test_text_model_cannot_start_from_image_model(
    run: Path, experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["training"] |= {"start_from": str(run)}
    del experiment["data"]["vocabulary"]
    called = nmt_train(write_experiment(tmp_path / "a.yaml", experiment), "--run", tmp_path / "r")
    assert f"{run}: reads images and has no source vocabulary" in called.complaint
