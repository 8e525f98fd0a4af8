"""The wheel: built, installed into a fresh environment, and used from another folder."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
SOURCES = ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources."""
    pytest.importorskip("build.__main__")  # a folder of this name is no package
    folder = tmp_path_factory.mktemp("sources")
    for name in SOURCES:
        shutil.copy(ROOT / name, folder)
    for name in ("nmt", "configs"):
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", str(folder)]
    built = subprocess.run(command, capture_output=True, text=True)
    assert built.returncode == 0, built.stdout + built.stderr
    (file,) = (folder / "dist").iterdir()
    return file


def test_wheel_contains_configs_and_a_readme_whose_links_are_absolute(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (metadata,) = (name for name in names if name.endswith("/METADATA"))
        text = archive.read(metadata).decode()
    configs = {f"nmt/configs/{file.name}" for file in (ROOT / "configs").glob("*.yaml")}
    assert configs <= names
    packaged = {file for file in (ROOT / "nmt").rglob("*") if "__pycache__" not in file.parts}
    assert {file.relative_to(ROOT).as_posix() for file in packaged if file.is_file()} <= names
    assert not [name for name in names if not name.startswith(("nmt/", "attentive_nmt-"))]
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert len(links) > 10
    assert all(link.startswith(("https://", "#")) for link in links)


def test_installed_wheel_writes_an_example_and_lists_components(
    wheel: Path, tmp_path: Path
) -> None:
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False, symlinks=os.name != "nt")
    scheme = {"base": str(environment), "platbase": str(environment)}
    paths = {key: Path(sysconfig.get_path(key, "venv", scheme)) for key in ("purelib", "scripts")}
    python = paths["scripts"] / ("python.exe" if os.name == "nt" else "python")
    install = ["install", "--quiet", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python)]
    subprocess.run([*pip, *install], check=True, capture_output=True)
    # The requirements are those of this environment, without its own editable installation.
    (paths["purelib"] / "requirements.pth").write_text(sysconfig.get_path("purelib") + "\n")
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}

    def call(command: str, *arguments: str) -> str:
        program = [str(paths["scripts"] / command), *arguments]
        ended = subprocess.run(program, cwd=tmp_path, env=clean, capture_output=True, text=True)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert "dates.yaml: written" in call("nmt-train", "--example", "dates")
    assert "bahdanau" in call("nmt-train", "--list", "decoder")
    assert call("nmt-plot", "--version").startswith("nmt-plot ")
    assert call("nmt-serve", "--version").startswith("nmt-serve ")


def test_citation_agrees_with_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    from nmt.version import DISTRIBUTION, VERSION

    assert project["name"] == DISTRIBUTION
    assert citation["version"] == VERSION
    assert citation["license"] == project["license"]
    assert citation["repository-code"] == project["urls"]["Repository"]
