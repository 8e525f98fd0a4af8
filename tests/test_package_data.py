"""Files in the package that are not Python modules."""

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_every_data_file_is_in_package_data_of_pyproject() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    packaged = {
        file
        for package, patterns in config["tool"]["setuptools"]["package-data"].items()
        for pattern in patterns
        for file in ROOT.joinpath(*package.split(".")).glob(pattern)
    }
    files = {file for file in (ROOT / "nmt").rglob("*") if file.is_file()}
    # A `.so` is compiled from a file of the package.
    data = {file for file in files if file.suffix not in (".py", ".pyc", ".so")}
    assert data == packaged
    assert data
