"""Choice of BLEU's tokenizer by language."""

from importlib.util import find_spec

import pytest
import sacrebleu
from sacrebleu.metrics.bleu import BLEU

from nmt.data import bleu_tokenizer
from nmt.data.bleu_tokenizer import (
    choose_for_references,
    choose_tokenizer,
    lacks_spaces,
    warn_missing_spaces,
)
from nmt.evaluation.metrics import score

CHINESE = ["我今天早上去市场买了三个红苹果。", "他的妹妹在图书馆里认真地看书。"] * 3
WRONG = ["我今天早上新市场买了三个红苹果。", "他的妹妹在新书馆里认真地看书。"] * 3
THAI = "ภาษาไทยเป็นภาษาที่มีระดับเสียงของคำแน่นอน"
KHMER = "ភាសាខ្មែរគឺជាភាសាកំណើតរបស់ជនជាតិខ្មែរ"
BURMESE = "မြန်မာဘာသာစကားသည်မြန်မာနိုင်ငံ၏ ရုံးသုံးဘာသာစကားဖြစ်သည်"
LAO = "ພາສາລາວເປັນພາສາທາງການຂອງປະເທດລາວ"
TIBETAN = "བོད་སྐད་ནི་བོད་པའི་སྐད་ཡིག་ཡིན།"
JAPANESE = "吾輩は猫である。名前はまだ無い。"
SPACED = {
    "english": "The cat sat on the mat.",
    "german": "Donaudampfschifffahrtsgesellschaftskapitäne",
    "date": "2000-01-07",
    "emoji": "😀😀😀😀",
    "arabic": "قال الرجل مرحبا للجميع",
    "hebrew": "הילד הלך לבית הספר",
    "hindi": "यह एक छोटा सा वाक्य है",
    "malayalam": "ഇന്ത്യയിലെ ഒരു സംസ്ഥാനമാണ് കേരളം",
    "amharic": "ሰው ሁሉ ነጻ ሆኖ ተወልዷል",
    "korean": "나는 오늘 아침에 시장에 갔다",
    "word": "컴퓨터",
    "segmented chinese": "我 今天 早上 去 市场 买 了 三 个 苹果 。",
    "empty": "",
}


@pytest.mark.parametrize(
    "code", ["zh", "zh-CN", "zh_TW", "ZH", "cmn_Hans", "zho_Hant", "yue", "chi", "cn", "Chinese"]
)
def test_chinese_has_the_tokenizer_that_sacrebleu_chooses(code: str) -> None:
    name = choose_tokenizer(code).name
    found = score(["bleu"], WRONG, [CHINESE], tokenize=name)["bleu"]
    metric = BLEU(trg_lang="zh")
    expected = metric.corpus_score(WRONG, [CHINESE])
    assert found.score == expected.score > 50
    assert found.signature == str(metric.get_signature())
    assert "tok:zh" in found.signature


@pytest.mark.parametrize(
    ("code", "language"), [("ja", "ja"), ("jpn_Jpan", "ja"), ("ko", "ko"), ("ko-KR", "ko")]
)
def test_japanese_and_korean_fall_back_to_characters_with_a_remedy(
    code: str, language: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bleu_tokenizer, "find_spec", lambda module: None)
    choice = choose_tokenizer(code)
    assert choice.name == "char"
    name = BLEU._TOKENIZER_MAP[language]
    assert name in choice.warning and f"pip install 'sacrebleu[{language}]'" in choice.warning
    monkeypatch.setattr(bleu_tokenizer, "find_spec", lambda module: object())
    assert choose_tokenizer(code) == (name, "")


@pytest.mark.skipif(find_spec("MeCab") is None, reason="mecab-python3 is not installed")
def test_japanese_equals_sacrebleu() -> None:
    name = choose_tokenizer("ja").name
    found = score(["bleu"], [JAPANESE], [[JAPANESE]], tokenize=name)["bleu"].score
    assert found == BLEU(trg_lang="ja").corpus_score([JAPANESE], [[JAPANESE]]).score


@pytest.mark.parametrize("code", ["th", "tha", "lo", "km", "my", "bo", "mya_Mymr", "th-TH"])
def test_scripts_without_spaces_are_compared_by_characters(code: str) -> None:
    assert choose_tokenizer(code) == ("char", "")


@pytest.mark.parametrize("code", ["en", "de", "fr-CA", "tgt", "iso", "xx", "", None, "chr", "mk"])
def test_other_languages_have_the_default(code: str | None) -> None:
    assert choose_tokenizer(code) == (None, "")


@pytest.mark.parametrize(
    "text", [CHINESE[0], "一个男人", JAPANESE, THAI, KHMER, BURMESE, LAO, TIBETAN]
)
def test_text_without_spaces_is_recognized_in_any_language(text: str) -> None:
    assert lacks_spaces([text, f"{text} {text}", "1.", ""])
    warning = choose_for_references(["bleu"], None, "xx", [text]).warning
    assert "almost no spaces" in warning and "chrf" in warning
    assert warn_missing_spaces("intl", [text]) and not warn_missing_spaces("char", [text])
    assert not choose_for_references(["chrf"], None, "xx", [text]).warning


@pytest.mark.parametrize("name", SPACED)
def test_text_with_spaces_or_other_scripts_is_not_warned_about(name: str) -> None:
    assert not lacks_spaces([SPACED[name]] * 3)


def test_a_chosen_tokenizer_is_used_and_warned_about() -> None:
    assert choose_for_references(["bleu"], "char", "zh", CHINESE) == ("char", "")
    chosen = choose_for_references(["bleu"], "13a", "zh", CHINESE)
    assert chosen.name == "13a" and "13a" in chosen.warning
    assert sacrebleu.corpus_bleu(WRONG, [CHINESE], tokenize="13a").score < 1
