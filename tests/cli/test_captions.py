"""Captions through the real commands: training on pictures, and naming pictures to translate."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nmt.search.translator import Translator
from tests.cli.bars import make_bars, write_lines
from tests.commands import lines_of, nmt_eval, nmt_train, nmt_translate, tree_of, write_experiment
from tests.search.translations import assert_equal


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 48 training pictures and 12 others, and an experiment of seconds."""
    folder = tmp_path_factory.mktemp("bars")
    make_bars(folder)
    return folder


@pytest.fixture(scope="module")
def run(bars: Path) -> Path:
    called = nmt_train(bars / "bars.yaml", "--run", bars / "run")
    assert called.code == 0, called.err
    return bars / "run"


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, far from the pictures."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def test_a_captioner_learns_what_is_where(run: Path, bars: Path) -> None:
    called = nmt_translate("-m", run, bars / "valid.pictures")
    right = [a == b for a, b in zip(called.lines, lines_of(bars / "valid.en"), strict=True)]
    assert sum(right) >= 10
    scored = nmt_eval(
        *("-m", run, bars / "valid.pictures", bars / "valid.en"), "--metrics", "exact", "--json"
    )
    assert json.loads(scored.out)["exact"]["score"] == pytest.approx(100 * sum(right) / 12)


def test_a_run_has_the_captions_vocabulary_alone_and_draws_its_attention(run: Path) -> None:
    assert [path.name for path in (run / "vocabulary").iterdir()] == ["target.model"]
    drawn = {path.name for path in (run / "attention").iterdir()}
    assert drawn == {"80.png", "80-2.png", "80.html"}
    samples = (run / "samples" / "80.txt").read_text(encoding="utf-8")
    assert "images/valid-0.png" in samples and "red above green" in samples


def test_a_second_start_reads_no_picture(
    run: Path, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*arguments: object) -> None:
        pytest.fail("a picture was read")

    monkeypatch.setattr("nmt.data.images.read_image", read)
    called = nmt_train(bars / "bars.yaml", "--run", run)
    assert called.code == 0
    assert "nothing left to do" in called.err


def test_check_says_what_a_batch_is_and_writes_nothing(bars: Path) -> None:
    before = tree_of(bars)
    called = nmt_train(bars / "bars.yaml", "--check")
    assert called.code == 0, called.err
    assert tree_of(bars) == before
    shown = {line[:18].strip(): line[18:] for line in called.out.splitlines()}
    assert shown["training text"] == "48 pairs read, 48 kept"
    assert shown["vocabulary"] == "18 target tokens"
    assert shown["longest batch"].startswith("12 images of 3 x 16 x 16, ")


@pytest.mark.usefixtures("elsewhere")
def test_names_are_relative_to_their_file_and_empty_lines_stay_empty(run: Path, bars: Path) -> None:
    expected = nmt_translate("-m", run, bars / "valid.pictures").lines
    names = lines_of(bars / "valid.pictures")
    some = write_lines(bars / "some.pictures", [names[2], "", f" {names[5]} ", " ", names[2]])
    called = nmt_translate("-m", run, some)
    assert called.lines == [expected[2], "", expected[5], "", expected[2]]


def test_names_on_standard_input_are_relative_to_the_current_folder(
    run: Path, bars: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = nmt_translate("-m", run, bars / "valid.pictures").lines
    monkeypatch.chdir(bars / "images")
    given = f"valid-3.png\n{bars / 'images' / 'valid-4.png'}\n"
    assert nmt_translate("-m", run, given=given).lines == expected[3:5]


def test_neighbours_change_no_caption(run: Path, bars: Path) -> None:
    translator = Translator.load(run)
    names = [str(bars / name) for name in lines_of(bars / "valid.pictures")]
    whole = translator.translate(names, n_best=2)
    for sentences in (1, 5):
        assert_equal(translator.translate(names, n_best=2, batch_sentences=sentences), whole)
    # A picture counts as its 16 places and one more.
    assert_equal(translator.translate(names, n_best=2, batch_tokens=40), whole)


def test_json_has_the_attention_to_each_place_and_no_words_to_align(run: Path, bars: Path) -> None:
    called = nmt_translate("-m", run, bars / "valid.pictures", "--jsonl", "--n-best", 2)
    one = json.loads(called.lines[7])
    assert one["source"] == str(bars / "images" / "valid-7.png")
    assert one["source_pieces"] == [f"r{row}c{column}" for row in range(4) for column in range(4)]
    assert one["alignment"] is None
    assert len(one["attention"]) == len(one["piece_scores"])
    for row in one["attention"]:
        assert len(row) == 16
        assert sum(row) == pytest.approx(1, abs=1e-5)
    assert len(one["n_best"]) == 2


def test_pieces_are_aligned_to_places_and_words_are_not(
    run: Path, bars: Path, tmp_path: Path
) -> None:
    options = ["-m", run, bars / "valid.pictures", "--alignments", tmp_path / "links"]
    refused = nmt_translate(*options, "-o", tmp_path / "out")
    assert "a picture has none; add --alignment-level piece" in refused.complaint
    assert list(tmp_path.iterdir()) == []
    called = nmt_translate(*options, "--alignment-level", "piece", "--jsonl")
    found = [json.loads(line) for line in called.lines]
    for one, line in zip(found, lines_of(tmp_path / "links"), strict=True):
        links = [tuple(map(int, link.split("-"))) for link in line.split()]
        best = np.array(one["attention"])[: len(one["pieces"])].argmax(axis=1)
        assert links == [(place, target) for target, place in enumerate(best)]


def test_words_of_a_picture_cannot_be_copied(run: Path, bars: Path) -> None:
    called = nmt_translate("-m", run, bars / "valid.pictures", "--replace-unknown")
    assert "a picture has no words" in called.complaint


def test_a_picture_that_cannot_be_read_is_told_with_its_line(
    run: Path, bars: Path, tmp_path: Path
) -> None:
    (bars / "images" / "text.png").write_text("hello")
    for name, words in (("gone.png", "not found; "), ("text.png", "is not an image; ")):
        lines = ["images/valid-0.png", "", f"images/{name}"]
        names = write_lines(bars / "odd.pictures", lines)
        called = nmt_translate("-m", run, names)
        assert called.complaint.startswith(
            f"nmt-translate: {names}:3: {bars / 'images' / name}: {words}"
        )
        captions = write_lines(tmp_path / "odd.en", ["a", "b", "c"])
        assert f"{names}:3: " in nmt_eval("-m", run, names, captions).complaint
    called = nmt_translate("-m", run, given="\nnowhere.png\n")
    assert "standard input:2: nowhere.png: not found; " in called.complaint


def test_a_picture_to_learn_from_is_told_with_its_line(bars: Path, tmp_path: Path) -> None:
    names = lines_of(bars / "train.pictures")
    lines = [str(bars / name) for name in names]
    lines[6] = "gone.png"
    file = write_lines(tmp_path / "train.pictures", lines)
    write_lines(tmp_path / "train.en", lines_of(bars / "train.en"))
    called = nmt_train(bars / "bars.yaml", f"data.train={tmp_path / 'train'}", "--run", "r")
    assert called.complaint.startswith(f"nmt-train: {file}:7: {tmp_path / 'gone.png'}: not found")


def test_attention_is_drawn_over_the_pictures(run: Path, bars: Path, tmp_path: Path) -> None:
    names = write_lines(bars / "two.pictures", lines_of(bars / "valid.pictures")[:2])
    called = nmt_translate("-m", run, names, "--attention", tmp_path / "drawn")
    assert called.code == 0
    drawn = {path.name for path in (tmp_path / "drawn").iterdir()}
    assert drawn == {"0.png", "0.html", "1.png", "1.html"}


def test_captions_that_are_given_are_scored(run: Path, bars: Path, tmp_path: Path) -> None:
    found = nmt_translate("-m", run, bars / "valid.pictures", "--scores", "--beam-size", 1)
    texts, scores = zip(*(line.split("\t") for line in found.lines), strict=True)
    given = write_lines(tmp_path / "given.en", list(texts))
    forced = nmt_translate("-m", run, bars / "valid.pictures", "--force", given, "--scores")
    again = [line.split("\t")[1] for line in forced.lines]
    assert list(map(float, again)) == pytest.approx(list(map(float, scores)), abs=2e-4)


def test_from_python_a_caption_takes_a_file_name(run: Path, bars: Path) -> None:
    translator = Translator.load(run, run)
    found = translator.translate([str(bars / "images" / "valid-0.png"), ""])
    assert found[0].text == nmt_translate("-m", run, bars / "valid.pictures").lines[0]
    assert (found[0].grid, found[1].text, found[1].grid) == ((4, 4), "", None)


def test_a_model_of_text_and_one_of_pictures_are_no_ensemble(run: Path, trained: Path) -> None:
    called = nmt_translate("-m", run, "-m", trained, given="a\n")
    assert f"{trained}: has another vocabulary than {run}" in called.complaint


def test_a_model_of_text_cannot_start_from_one_of_pictures(
    run: Path, experiment: dict[str, Any], tmp_path: Path
) -> None:
    experiment["training"] |= {"start_from": str(run)}
    called = nmt_train(write_experiment(tmp_path / "a.yaml", experiment), "--run", tmp_path / "r")
    assert f"{run}: reads images and has no source vocabulary" in called.complaint
