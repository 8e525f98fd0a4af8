"""The API of LibreTranslate, with a service inside the test."""

import asyncio
from pathlib import Path

import pytest

from nmt.search.translator import Translator
from tests.serving.service_clients import LocalWorker, run, serving

PAIR = {"source": "de", "target": "en"}


def test_translations_equal_those_of_the_translator_whatever_arrives_together(
    translator: Translator, sources: list[str]
) -> None:
    expected = [one.text for one in translator.translate(sources)]

    async def test() -> None:
        async with serving(translator) as client:
            LocalWorker.rounds.clear()
            posts = [client.post("/translate", data={"q": one, **PAIR}) for one in sources]
            answers = await asyncio.gather(*posts)
            assert [one.json() for one in answers] == [{"translatedText": one} for one in expected]
            # Some of them shared a round.
            assert sum(LocalWorker.rounds) == len(sources) > 2 * len(LocalWorker.rounds)
            answer = await client.post("/translate", json={"q": sources, **PAIR})
            assert answer.json() == {"translatedText": expected}

    run(test)


def test_parameters_are_accepted_as_json_form_multipart_and_query(
    translator: Translator, sources: list[str]
) -> None:
    given = {"q": "Ein Mädchen liest.", **PAIR}
    expected = {"translatedText": translator(given["q"]).text}

    async def test() -> None:
        async with serving(translator) as client:
            files = {name: (None, value) for name, value in given.items()}
            raw = "&".join(f"{name}={value}" for name, value in given.items())
            kind = {"content-type": "application/x-www-form-urlencoded"}
            for arguments in (
                {"json": given},
                {"data": given},
                {"params": given},
                {"files": files},
                {"content": raw.encode(), "headers": kind},
            ):
                answer = await client.post("/translate", **arguments)
                assert answer.json() == expected, arguments

    run(test)


def test_paragraphs_keep_their_white_space_and_alternatives_differ(translator: Translator) -> None:
    first, second = (translator(one, n_best=3) for one in ("Ein Mann liest.", "Die Frau singt."))

    async def test() -> None:
        async with serving(translator) as client:
            q = f" {first.source}  {second.source}\n\n{first.source}\n"
            given = {"q": q, **PAIR, "alternatives": 2}
            answer = (await client.post("/translate", json=given)).json()
            assert answer["translatedText"] == f" {first}  {second}\n\n{first}\n"
            others = [
                f" {one}  {two}\n\n{one}\n"
                for one, two in zip(first.n_best[1:], second.n_best[1:], strict=True)
            ]
            assert answer["alternatives"] == others
            for blank in (" ", "\n\n", "\u200b"):
                answer = await client.post("/translate", json={**given, "q": blank})
                assert answer.json() == {"translatedText": blank, "alternatives": []}

    run(test)


@pytest.mark.parametrize(
    ("given", "status", "error"),
    [
        ({"q": None}, 400, "Invalid request: missing q parameter"),
        ({"q": []}, 400, "Invalid request: missing q parameter"),
        ({"source": None}, 400, "Invalid request: missing source parameter"),
        ({"target": ""}, 400, "Invalid request: missing target parameter"),
        ({"target": "zz"}, 400, "zz is not supported"),
        ({"source": "en", "target": "de"}, 400, "German (de) is not available as a target"),
        ({"format": "xml"}, 400, "xml format is not supported"),
        ({"alternatives": "abc"}, 400, "Invalid request: alternatives parameter is not a number"),
        ({"alternatives": -1}, 400, "Invalid request: alternatives must be from 0 to 100"),
        ({"q": 7}, 400, "Invalid request: q"),
        ({"q": "half a pair \ud800"}, 400, "surrogate"),
        ({"q": "x" * 5001}, 413, "Invalid request: request (5001) exceeds text limit (5000)"),
        ({"q": ["x" * 3000] * 2}, 413, "exceeds text limit"),
        ({"more": "x" * 200_000}, 413, "bytes"),
    ],
)
def test_mistakes_are_reported_in_the_form_of_libretranslate(
    translator: Translator, given: dict[str, object], status: int, error: str
) -> None:
    import json

    async def test() -> None:
        async with serving(translator) as client:
            changed = {"q": "Hallo", **PAIR, **given}
            content = json.dumps({k: v for k, v in changed.items() if v is not None}).encode()
            headers = {"content-type": "application/json"}
            answer = await client.post("/translate", content=content, headers=headers)
            assert answer.status_code == status
            assert error in answer.json()["error"]

    run(test)


def test_body_that_is_no_json_object_is_refused(translator: Translator) -> None:
    async def test() -> None:
        async with serving(translator) as client:
            for content in (b"[1]", b"{", b"\xff"):
                headers = {"content-type": "application/json"}
                answer = await client.post("/translate", content=content, headers=headers)
                assert (answer.status_code, answer.json()) == (
                    400,
                    {"error": "Invalid JSON format"},
                )
            assert (await client.get("/nothing")).json() == {"error": "Not Found"}

    run(test)


def test_files_are_translated_and_downloaded(translator: Translator) -> None:
    expected = translator("Ein Mann liest.").text
    files = {"a.txt": f"{expected}\n\n", "b.HTML": f"<p>{expected}</p>"}

    async def test() -> None:
        async with serving(translator, max_chars=5) as client:
            for name, translation in files.items():
                text = translation.replace(expected, "Ein Mann liest.")
                upload = {"file": (name, b"\xef\xbb\xbf" + text.encode())}
                answer = await client.post("/translate_file", data=PAIR, files=upload)
                url = answer.json()["translatedFileUrl"]
                assert (await client.get(url)).text == translation
            for name, content in (("a.pdf", b"x"), ("a.txt", b"\xff")):
                answer = await client.post(
                    "/translate_file", data=PAIR, files={"file": (name, content)}
                )
                assert (answer.status_code, "file" in answer.json()["error"]) == (400, True)
            answer = await client.post("/translate_file", data=PAIR)
            assert answer.json() == {"error": "Invalid request: missing file parameter"}
            assert (await client.get("/download_file/..%2fx")).status_code == 404

    run(test)


def test_languages_settings_health_and_detection(translator: Translator) -> None:
    async def test() -> None:
        async with serving(translator, pair=("ko", "en")) as client:
            assert (await client.get("/languages")).json() == [
                {"code": "ko", "name": "Korean", "targets": ["en"]},
                {"code": "en", "name": "English", "targets": []},
            ]
            settings = (await client.get("/frontend/settings")).json()
            assert settings["charLimit"] == 5000
            assert settings["language"]["source"] == {"code": "ko", "name": "Korean"}
            assert (await client.get("/health")).json() == {"status": "ok"}
            for path in ("/health", "/", "/page/page.js"):
                assert (await client.head(path)).status_code == 200
            found = (await client.post("/detect", data={"q": "나는 학생입니다"})).json()
            assert found == [{"confidence": 100.0, "language": "ko"}]
            answer = await client.post(
                "/translate", data={"q": "안녕", "source": "auto"} | {"target": "en"}
            )
            assert answer.json()["detectedLanguage"] == {"confidence": 100.0, "language": "ko"}
            metrics = (await client.get("/metrics")).text
            assert 'nmt_requests_total{path="/translate",status="200"} 1.0' in metrics
            assert 'nmt_sentences_total{model="tiny"} 1.0' in metrics

    run(test)


def test_keys_rates_and_places_refuse_with_time_to_wait(
    translator: Translator, tmp_path: Path
) -> None:
    from nmt.serving.limits import ApiKeys

    (tmp_path / "keys").write_text("# clients\nslow-client 1\nfast-client\n")
    given = {"q": "Hallo", **PAIR}

    async def test() -> None:
        async with serving(translator, keys=ApiKeys(tmp_path / "keys"), queue=2) as client:

            async def status(**more: str) -> tuple[int, str | None]:
                answer = await client.post("/translate", data=given | more)
                assert answer.status_code == 200 or answer.json()["error"]
                return answer.status_code, answer.headers.get("retry-after")

            assert await status() == (403, None)
            assert await status(api_key="another-one") == (403, None)
            assert await status(api_key="slow-client") == (200, None)
            refused, seconds = await status(api_key="slow-client")
            assert refused == 429
            assert 1 <= int(seconds or 0) <= 61
            key = {"api_key": "fast-client"}
            assert await status(**key) == await status(**key) == (200, None)
            found = await asyncio.gather(*(status(**key) for _ in range(4)))
            assert sorted(found) == [(200, None)] * 2 + [(503, "1")] * 2
            assert await status(**key) == (200, None)

    run(test)
