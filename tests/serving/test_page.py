"""The files of the browser page: complete, cached, and restricted to the service."""

import re

import pytest

pytest.importorskip("fastapi")
httpx = pytest.importorskip("httpx")

from fastapi import FastAPI  # noqa: E402
from fastapi.testclient import TestClient  # noqa: E402

from nmt.serving.page import FILES, page_router  # noqa: E402


@pytest.fixture(scope="module")
def client() -> TestClient:
    app = FastAPI()
    app.include_router(page_router())
    return TestClient(app)


def test_page_refers_to_files_that_are_served(client: TestClient) -> None:
    index = client.get("/")
    assert index.headers["content-type"] == "text/html; charset=utf-8"
    reached, remaining = set(), set(re.findall(r'(?:src|href)="page/([^"]+)"', index.text))
    while remaining:
        name = remaining.pop()
        reached.add(name)
        file = client.get(f"/page/{name}")
        assert file.status_code == 200, name
        kind = "javascript" if name.endswith(".js") else "css"
        assert file.headers["content-type"] == f"text/{kind}; charset=utf-8"
        remaining |= set(re.findall(r'from "\./([^"]+)"', file.text)) - reached
    assert reached == set(FILES) - {"index.html"}


def test_page_runs_no_other_code_and_is_in_no_frame(client: TestClient) -> None:
    policy = client.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    # Scripts and styles within the page would need 'unsafe-inline'.
    assert not re.search(r"<style|<script(?![^>]*src=)| style=| on\w+=", client.get("/").text)


def test_unchanged_file_is_not_sent_again(client: TestClient) -> None:
    first = client.get("/page/page.js")
    again = client.get("/page/page.js", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert client.get("/page/__init__.py").status_code == 404
    assert client.get("/page/..%2fapp.py").status_code == 404
