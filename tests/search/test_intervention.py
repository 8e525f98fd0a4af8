"""Fixed first tokens against exhaustive search, and interventions in the search of a model."""

from pathlib import Path
from typing import Any

import pytest
import torch

from nmt.errors import UserError
from nmt.search.beam import beam_search
from nmt.search.intervention import (
    IntervenedMemory,
    Intervention,
    collate_interventions,
    intervening,
)
from nmt.search.source_line import SourceLine
from nmt.search.translator import Translator

from .searching import NO_COVERAGE, NONE, assert_same
from .tables import BOS, EOS, Table, best_strings, unpenalized

NAMES = {"</s>": EOS, "a": 0, "b": 2, "c": 3}


def test_fixed_tokens_leave_the_best_of_all_strings_that_begin_with_them() -> None:
    table, length = Table(3, 6), 5
    pieces = [("b", "a"), None, ("c",)]
    interventions = [one and Intervention(one) for one in pieces]
    mask_bs = torch.ones(3, 3, dtype=torch.bool)
    tables = collate_interventions(interventions, NAMES, mask_bs, [length] * 3, [""] * 3)
    memory, state = table.start()

    def unused(*arguments: Any) -> Any:
        raise AssertionError("no attention is set")

    found = beam_search(
        intervening(table.step, unused),
        IntervenedMemory(memory, tables),
        (torch.zeros(3, dtype=torch.long), state),
        bos=BOS,
        eos=EOS,
        beam_size=4**4,
        n_best=3,
        max_lengths_b=[length] * 3,
        length_penalty=NONE,
        coverage_penalty=NO_COVERAGE,
    )
    for sentence, (first, own) in enumerate(zip(pieces, found, strict=True)):
        tokens = tuple(NAMES[piece] for piece in first or ())
        every = best_strings(table, sentence, length, 4**5, unpenalized)
        expected = [string for string in every if string.tokens[: len(tokens)] == tokens]
        assert_same(own, expected[:3], unpenalized)


def test_set_attention_changes_its_sentence_from_that_step_on_and_no_other(
    translator: Translator, sources: list[str]
) -> None:
    own, other = translator.translate(sources[:2], alternatives=2)
    assert own.attention is not None
    positions = own.attention.size(1)
    weights = [0.0] * (positions - 1) + [2.0]
    intervention = Intervention(own.pieces[:2], {2: weights})
    lines = [SourceLine(0, own.source, intervention=intervention), SourceLine(1, other.source)]
    options = translator.options.updated({"alternatives": 2})
    changed, same = translator.translate_lines(lines, options)
    assert changed.attention is not None
    assert changed.pieces[:2] == own.pieces[:2]
    assert changed.piece_scores[:2] == pytest.approx(own.piece_scores[:2], rel=1e-5)
    torch.testing.assert_close(changed.attention[:2], own.attention[:2])
    assert changed.attention[2].tolist() == [0.0] * (positions - 1) + [1.0]
    assert changed.alternatives[:2] != () and changed.alternatives[2] != own.alternatives[2]
    # Alternatives of the fixed pieces are those of the model.
    assert [one.piece for one in changed.alternatives[0]] == [
        one.piece for one in own.alternatives[0]
    ]
    assert (same.text, same.score, same.piece_scores) == (
        other.text,
        other.score,
        other.piece_scores,
    )
    alone = translator.intervene(
        own.source, pieces=own.pieces[:2], attention={2: weights}, alternatives=2
    )
    assert (alone.text, alone.score) == (changed.text, changed.score)


def test_own_pieces_and_own_attention_give_the_same_translation(
    translator: Translator, sources: list[str]
) -> None:
    (own,) = translator.translate(sources[2:3])
    assert own.attention is not None
    attention = {step: row.tolist() for step, row in enumerate(own.attention)}
    found = translator.intervene(own.source, pieces=own.pieces, attention=attention)
    assert found.text == own.text
    assert found.score == pytest.approx(own.score, rel=1e-4)


@pytest.mark.parametrize(
    ("step", "weights", "message"),
    [
        (0, [1.0], "1 attention weights for 2 source positions"),
        (0, [-1.0, 2.0], "must be at least 0 and finite"),
        (0, [0.0, 0.0], "must be at least 0 and finite"),
        (0, [float("nan"), 1.0], "must be at least 0 and finite"),
        (-1, [1.0, 0.0], "steps between 0 and the maximum length"),
        (10**9, [1.0, 0.0], "steps between 0 and the maximum length"),
    ],
)
def test_weights_that_do_not_fit_are_user_errors(
    step: int, weights: list[float], message: str
) -> None:
    mask_bs = torch.tensor([[True, True, False]])
    with pytest.raises(UserError, match=f"^in:1: .*{message}"):
        collate_interventions([Intervention((), {step: weights})], NAMES, mask_bs, [9], ["in:1"])


def test_interventions_that_no_model_can_follow_are_user_errors(
    translator: Translator, trained: Path
) -> None:
    with pytest.raises(UserError, match="piece '☃☃' is not in the target vocabulary"):
        translator.intervene("ein", pieces=["☃☃"])
    with pytest.raises(UserError, match="is empty"):
        translator.intervene(" ", pieces=["a"])
    ensemble = Translator.load(trained, trained)
    with pytest.raises(UserError, match="requires a single model"):
        ensemble.intervene("ein", attention={0: [1.0]})
