"""Models of the Hugging Face hub, by a fake client that serves a local folder."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from nmt.errors import UserError
from nmt.inference.saved_model import load_saved_model
from nmt.search.translator import Translator
from tests.commands import nmt_export, nmt_translate


def fake_client(monkeypatch: pytest.MonkeyPatch, download: Any) -> None:
    module = ModuleType("huggingface_hub")
    setattr(module, "snapshot_download", download)  # noqa: B010
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_model_of_the_hub_translates_like_its_run(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert nmt_export(trained, "--hub", tmp_path / "blobs").code == 0
    # The layout of the cache: a snapshot is links to shared files.
    snapshot = tmp_path / "snapshots" / "main"
    for file in (tmp_path / "blobs").rglob("*"):
        if file.is_file():
            link = snapshot / file.relative_to(tmp_path / "blobs")
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    calls = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        calls.append((name, revision, allow_patterns))
        return str(snapshot)

    fake_client(monkeypatch, download)
    expected = nmt_translate("-m", trained, given="Ein Mann\n").out
    assert nmt_translate("-m", "hf://user/model", given="Ein Mann\n").out == expected
    assert Translator.load("hf://user/model@v1", device="cpu").languages == ("de", "en")
    assert [call[:2] for call in calls] == [("user/model", None), ("user/model", "v1")]
    assert not any("py" in pattern or "bin" in pattern for pattern in calls[0][2])


def test_failures_of_the_hub_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*given: object, **options: object) -> str:
        raise OSError("404 Client Error.\n\nRepository Not Found")

    fake_client(monkeypatch, download)
    with pytest.raises(
        UserError, match=r"^hf://user/model: cannot be downloaded: 404 Client Error"
    ):
        load_saved_model(Path("hf://user/model"))
    with pytest.raises(UserError, match=r"give hf://USER/REPOSITORY"):
        load_saved_model(Path("hf://model"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match=r"requires the package huggingface_hub; .*\[hub\]'"):
        load_saved_model(Path("hf://user/model"))
