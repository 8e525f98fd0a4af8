"""The page of a comparison as text; its script runs in a browser only."""

import base64
import hashlib
import json
import re
from pathlib import Path

import pytest

from nmt.comparison.buckets import Buckets
from nmt.comparison.measurement import Measurement, TestSet
from nmt.comparison.page import render_page
from nmt.comparison.plan import System
from nmt.comparison.results import evaluate
from nmt.storage.run_dir import RunDir

HOSTILE = "</script><script>alert(1)</script> <b>&amp;"
REFERENCES = [HOSTILE, "one two"]


@pytest.fixture(scope="module")
def page(trained: Path) -> str:
    """The page of two systems, of which the second is wrong in one of two sentences."""
    experiment = RunDir(trained).experiment()
    runs = [
        (System(name, experiment, ()), Measurement(Path(), 1, texts, 7, 1.0, 1, None, 1.0, None))
        for name, texts in (("<i>a</i>", REFERENCES), ("b", [HOSTILE, "one"]))
    ]
    test = TestSet(["s", "t"], [REFERENCES], "test")
    results = evaluate(runs, test, ["chrf"], baseline="b")
    return render_page(
        results, [Buckets("words", "chrf", ["1-5"], [2], {"a": [99.0], "b": [50.0]})]
    )


def test_sentences_have_the_translations_and_scores_of_all_systems(page: str) -> None:
    found = re.search(r'id="data">(.*?)</script>', page)
    assert found is not None
    data = json.loads(found[1])
    assert data["systems"] == ["<i>a</i>", "b"]
    source, references, texts, scores = data["sentences"][0]
    assert (source, references, texts) == ("s", [HOSTILE], [HOSTILE, HOSTILE])
    assert scores == [100.0, 100.0]
    assert data["sentences"][1][3][1] < 100.0


def test_names_and_texts_are_no_markup(page: str) -> None:
    assert "<b>" not in page
    assert "<i>" not in page
    assert page.count("</script>") == 2


def test_policy_allows_the_style_and_the_script_of_the_page_alone(page: str) -> None:
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert "default-src &#39;none&#39;" in policy[1]
    for tag, start in (("style", "<style>"), ("script", '<script type="module">')):
        text = page.split(start)[1].split(f"</{tag}>")[0]
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;" in policy[1].replace("&#43;", "+")
    assert not re.search(r'(src|href)="', page)
