"""Division of texts into sentences."""

import random

import pytest

from nmt.serving.segments import join_sentences, split_sentences


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Ein Mann liest. Er sitzt.", ["Ein Mann liest.", "Er sitzt."]),
        ("Eins\nzwei\r\n\n drei", ["Eins", "zwei", "drei"]),
        ("Dr. Kim kam am 3. Mai z. B. um 5.30 Uhr an. Gut!", 2),
        ('He said: "Stop!" Then he left. (Really?) Yes.', 4),
        ("Really? yes. J. S. Bach lived in the U.S. A lot.", 2),
        ("「行くよ。」と言った。そう！", ["「行くよ。」", "と言った。", "そう！"]),
        ("그는 집에 있다. 나는 없다… 정말?", 3),
        ("यह एक वाक्य है। दूसरा।", 2),
        ("هل أنت هنا؟ نعم.", 2),
        ("a...b c.d 1.5 end", 1),
        ("word, and " * 30 + "." + "x" * 600, 3),
        ("a" * 299 + ", " + "b c " * 60, ["a" * 299 + ",", ("b c " * 60).strip()]),
        ("가" * 1100, ["가" * 500, "가" * 500, "가" * 100]),
        ("", 0),
        (" \n\t ", 0),
    ],
)
def test_sentences_of_a_text(text: str, sentences: list[str] | int) -> None:
    found = [one.text for one in split_sentences(text) if one.text]
    assert found == sentences or len(found) == sentences


def test_any_text_is_joined_from_its_sentences() -> None:
    chance = random.Random(1)
    for _ in range(300):
        text = "".join(chance.choices('aB1.!?。 \n\r\t"”(…\u200b\u3000', k=chance.randrange(40)))
        segments = split_sentences(text)
        assert join_sentences(segments, [one.text for one in segments if one.text]) == text
        assert all("\n" not in one.text and one.text == one.text.strip() for one in segments)


def test_long_runs_take_linear_time() -> None:
    # Quadratic matching would take hours.
    for run in ("." * 300_000, '!"' * 200_000, " " * 300_000, "\n" * 300_000, "。" * 300_000):
        segments = split_sentences(run + "x")
        assert join_sentences(segments, [one.text for one in segments if one.text]) == run + "x"
