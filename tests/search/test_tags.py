"""Tags of source sentences in translation: as an option, and as the first word of a sentence."""

from pathlib import Path

import pytest
import torch

from nmt.errors import UserError
from nmt.search.translation import Translation
from nmt.search.translator import Translator
from tests.commands import PHRASES, nmt_train, nmt_translate, write_experiment
from tests.conftest import tiny_experiment
from tests.training.conftest import quick


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two updates on two corpora with a tag each."""
    folder = tmp_path_factory.mktemp("tags")
    tree = quick(tiny_experiment(), steps=2)
    english = {"path": str(PHRASES), "source": "en", "target": "de", "tag": "<2de>"}
    german = {"path": str(PHRASES), "tag": "<2en>"}
    tree["data"] |= {"train": [german, english], "valid": german}
    tree["search"] = {"beam_size": 2, "max_length": 6}
    called = nmt_train(write_experiment(folder / "tags.yaml", tree), "--run", folder / "run")
    assert called.code == 0, called.err
    return folder / "run"


@pytest.fixture(scope="module")
def tagged(run: Path) -> Translator:
    return Translator.load(run)


def _same(one: Translation, other: Translation) -> None:
    assert (one.text, one.score, one.source_pieces) == (
        other.text,
        other.score,
        other.source_pieces,
    )
    assert one.attention is not None and other.attention is not None
    assert torch.equal(one.attention, other.attention)


@pytest.mark.parametrize("tag", ["<2en>", "<2de>"])
def test_tag_equals_the_first_word_of_the_sentence(tag: str, tagged: Translator) -> None:
    (option,) = tagged.translate("guten  morgen", tag=tag)
    (written,) = tagged.translate(f"{tag} guten  morgen")
    (both,) = tagged.translate(f"{tag} guten  morgen", tag=tag)
    assert option.source_pieces[:2] == ("▁", tag)
    _same(option, written)
    _same(both, written)
    # Positions are those of the given text, whose words do not include the tag of the option.
    assert option.source == "guten  morgen"
    assert [end < 0 for _, end in option.source_spans[:3]] == [True, True, False]
    covered = [option.source[start:end] for start, end in option.source_spans[2:]]
    assert "".join(covered) == option.source
    assert option.segmented_source.pieces_of_words == written.segmented_source.pieces_of_words[1:]
    assert all(0 <= source < 2 for source, _ in option.alignment)


def test_tags_give_different_translations_and_empty_lines_stay_empty(tagged: Translator) -> None:
    scores = {tagged.translate("guten morgen", tag=tag)[0].score for tag in ("<2en>", "<2de>")}
    assert len(scores) == 2
    assert [one.text for one in tagged.translate(["", " "], tag="<2en>")] == ["", ""]


def test_annotations_include_the_tag(tagged: Translator) -> None:
    with pytest.raises(UserError, match="requires a tag"):
        tagged.encode("guten morgen")
    assert tagged.encode("<2en> guten morgen").pieces[0][:2] == ("▁", "<2en>")


def test_command_requires_a_known_tag(run: Path) -> None:
    called = nmt_translate("-m", run, given="<2en> ja\n\nnein\n")
    assert "3: the model requires a tag, <2en> or <2de>; choose one with --tag" in called.complaint
    called = nmt_translate("-m", run, "--tag", "<2fr>", given="ja\n")
    assert "tag <2fr> is unknown to the model" in called.complaint
    assert nmt_translate("-m", run, "--tag", "<2en>", given="ja\n\nnein\n").out.count("\n") == 3


def test_model_without_tags_refuses_them(translator: Translator) -> None:
    with pytest.raises(UserError, match="tag <2en> is unknown to the model"):
        translator.translate("ja", tag="<2en>")
