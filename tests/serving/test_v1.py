"""The API of this toolkit, with a service inside the test."""

import html
import json
import re
from typing import Any

import pytest

from nmt.evaluation.quality import quality_features
from nmt.evaluation.report import writer
from nmt.search.translator import Translator
from tests.serving.service_clients import LocalWorker, run, serving

SENTENCE = "Ein Mann liest."


def test_results_equal_those_of_jsonl_with_options_and_constraints(translator: Translator) -> None:
    plain = translator(SENTENCE, n_best=3, beam_size=6)
    prefixed = translator.translate(SENTENCE, prefix="the", n_best=3, beam_size=6)[0]
    (scored,) = translator.score([SENTENCE], ["a man reads."])

    async def test() -> None:
        async with serving(translator) as client:
            assert (await client.get("/v1/models")).json() == [
                {"name": "tiny", "source": "de", "target": "en"}
            ]
            body: dict[str, Any] = {
                "sentences": [{"text": SENTENCE}, {"text": SENTENCE, "prefix": "the"}],
                "options": {"n_best": 3, "beam_size": 6},
            }
            answer = (await client.post("/v1/translate", json=body)).json()
            expected = [plain.to_dict(), prefixed.to_dict()]
            assert answer == {"model": "tiny", "sentences": json.loads(json.dumps(expected))}
            body = {"text": f"{SENTENCE} {SENTENCE}", "report": True}
            answer = (await client.post("/v1/translate", json=body)).json()
            assert answer["report"].startswith("<!doctype html>")
            assert "report" not in answer["sentences"][0]
            answer = await client.post("/v1/translate", json={"text": "", "report": True})
            assert answer.json()["report"] == ""
            body = {"sentences": [{"text": SENTENCE, "target": "a man reads."}]}
            answer = (await client.post("/v1/translate", json=body)).json()
            assert answer["sentences"] == [json.loads(json.dumps(scored.to_dict()))]

    run(test)


def test_quality_and_beam_tree_equal_those_of_jsonl(translator: Translator) -> None:
    plain = translator(SENTENCE, quality=True, beam_tree=True, beam_size=3, n_best=2)
    expected = plain.to_dict() | {"quality": quality_features(plain)}
    options = {"quality": True, "beam_tree": True, "beam_size": 3, "n_best": 2}

    async def test() -> None:
        async with serving(translator) as client:
            body: dict[str, Any] = {"sentences": [{"text": SENTENCE}, {"text": ""}]}
            answer = await client.post("/v1/translate", json=body | {"options": options})
            found, empty = answer.json()["sentences"]
            assert found == json.loads(json.dumps(expected))
            assert (empty["beam_tree"], empty["quality"]) == (None, None)

    run(test)


@pytest.mark.parametrize(
    "options", [{"mbr": "chrf", "candidates": 3, "mbr_scale": 0.5}, {"shortlist": True}]
)
def test_other_searches_equal_those_of_jsonl(
    translator: Translator, options: dict[str, Any]
) -> None:
    expected = translator.translate(SENTENCE, **options)[0].to_dict()
    assert expected["score"] != translator(SENTENCE).score

    async def test() -> None:
        async with serving(translator) as client:
            body: dict[str, Any] = {"sentences": [{"text": SENTENCE}], "options": options}
            answer = (await client.post("/v1/translate", json=body)).json()
            assert answer["sentences"] == [json.loads(json.dumps(expected))]
            answer = await client.post("/v1/translate", json=body | {"options": {"mbr": "ter"}})
            assert answer.status_code == 422

    run(test)


def test_requests_with_beam_trees_are_limited_and_streams_hold_few_of_them(
    translator: Translator,
) -> None:
    text = f"{SENTENCE} " * 20
    body: dict[str, Any] = {"text": text, "options": {"beam_tree": True, "beam_size": 2}}

    async def test() -> None:
        async with serving(translator) as client:
            answer = await client.post("/v1/translate", json=body)
            error = "beam_tree: of at most 8 sentences, got 20; send fewer, or a text with stream"
            assert (answer.status_code, answer.json()) == (413, {"error": error})
            LocalWorker.rounds.clear()
            answer = await client.post("/v1/translate", json=body | {"stream": True})
            assert answer.text.count('"beam_tree": {"pieces"') == 20
            assert max(LocalWorker.rounds) == 8

    run(test)


def test_large_report_is_one_page(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "MAX_PAGE_BYTES", 1)

    async def test() -> None:
        async with serving(translator) as client:
            answer = await client.post("/v1/translate", json={"text": SENTENCE, "report": True})
            assert '"directory": null' in html.unescape(answer.json()["report"])

    run(test)


def test_pieces_and_attention_are_set_by_hand(translator: Translator) -> None:
    plain = translator(SENTENCE)
    other = translator("Die Frau singt.").pieces[0]
    weights = [0.0] * (len(plain.source_pieces) + 1)
    weights[0] = 2.0

    async def test() -> None:
        async with serving(translator) as client:
            sentence = {"text": SENTENCE, "pieces": [other], "attention": {"1": weights}}
            answer = await client.post("/v1/translate", json={"sentences": [sentence]})
            found = answer.json()["sentences"][0]
            assert found["pieces"][0] == other
            assert found["attention"][1] == [1.0, *weights[1:]]

    run(test)


def test_stream_sends_the_sentences_of_a_long_document_in_order(translator: Translator) -> None:
    text = " ".join(["Ein Mann liest.", "Die Frau singt.\n"] * 40)
    expected = [one.text for one in translator(["Ein Mann liest.", "Die Frau singt."])]

    async def test() -> None:
        async with serving(translator, max_chars=50) as client:
            body = {"text": text, "source": "de", "target": "en"}
            assert (await client.post("/v1/translate", json=body)).status_code == 413
            answer = await client.post("/v1/translate", json=body | {"stream": True})
            assert answer.headers["content-type"].startswith("text/event-stream")
            blocks = [one.split("\n") for one in answer.text.split("\n\n") if "event" in one]
            events = [(one[0], json.loads(one[1].removeprefix("data: "))) for one in blocks]
            assert events.pop() == ("event: done", {"model": "tiny"})
            assert [name for name, _ in events] == ["event: sentence"] * 81
            assert [one["id"] for _, one in events] == list(range(81))
            assert [one["translation"] for _, one in events] == [*expected * 40, ""]
            sources = (one["before"] + one.get("source", "") for _, one in events)
            assert "".join(sources) == text
            assert client.service.places.taken == 0

    run(test)


@pytest.mark.parametrize(
    ("body", "status", "error"),
    [
        ({}, 400, "give either text or sentences"),
        ({"text": "a", "sentences": []}, 400, "give either text or sentences"),
        ({"sentences": [], "stream": True}, 400, "stream: requires text"),
        ({"text": "a", "model": "x"}, 404, "model x is not loaded; use one of tiny"),
        (
            {"text": "a", "options": {"beam_size": 33}},
            422,
            "options.beam_size: Input should be less",
        ),
        ({"text": "a", "options": {"batch_tokens": 1}}, 422, "options.batch_tokens: Extra"),
        ({"text": "a", "options": {"length_penalty": "x"}}, 400, "length_penalty"),
        ({"text": "a", "stream": True, "options": {"tag": "a b"}}, 400, "tag"),
        ({"text": "a", "beam_size": 1}, 422, "beam_size: Extra inputs are not permitted"),
        ({"sentences": [{"text": "a", "target": "b"}, {"text": "c"}]}, 400, "target"),
        ({"sentences": [{"text": "a", "target": "b", "prefix": "c"}]}, 400, "target"),
        ({"sentences": [{"text": "", "prefix": "c"}]}, 400, "is empty; remove the constraints"),
        ({"sentences": [{"text": "a", "terms": ["x" * 5000]}]}, 413, "exceeds text limit"),
        ({"sentences": [{"text": "a b" * 167}]}, 413, "at most 500 characters"),
    ],
)
def test_mistakes_are_named(
    translator: Translator, body: dict[str, Any], status: int, error: str
) -> None:
    async def test() -> None:
        async with serving(translator) as client:
            answer = await client.post("/v1/translate", json=body)
            assert (answer.status_code, error in answer.json()["error"]) == (status, True), (
                answer.text
            )

    run(test)


def test_openapi_page_loads_only_files_of_the_service(translator: Translator) -> None:
    async def test() -> None:
        async with serving(translator) as client:
            page = (await client.get("/docs")).text
            files = re.findall(r'(?:src|href)="([^"]+)"', page)
            assert len(files) == 3
            for file in files:
                assert file.startswith("/")
                assert (await client.get(file)).status_code == 200

    run(test)
