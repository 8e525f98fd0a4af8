"""Build of a wheel: experiment files in `nmt/configs`, a README whose links work anywhere, kernels.

The kernels in C are optional: without a compiler, nmt installs without them.
"""

import re
import shutil
import sys
import tomllib
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent


class BuildWithConfigs(build_py):
    """Build that copies the experiment files; an editable installation uses those of the clone."""

    def run(self):
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "nmt" / "configs"
        target.mkdir(parents=True, exist_ok=True)
        for file in sorted((ROOT / "configs").glob("*.yaml")):
            shutil.copy(file, target / file.name)


def absolute_readme():
    """Return the README with the links and pictures of the repository."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    repository = project["urls"]["Repository"]
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = re.sub(r"(!\[[^]]*\])\((?!https?:)([^)]+)\)", rf"\1({repository}/raw/main/\2)", text)
    return re.sub(r"(\[[^]]*\])\((?!https?:|#)([^)]+)\)", rf"\1({repository}/blob/main/\2)", text)


# Not a module of Python: `nmt/native/library.py` loads it by ctypes, and it needs no headers. The
# linker gets no OpenMP, so that the library shares torch's threads and not a second set.
KERNELS = Extension(
    "nmt.native._kernels",
    ["nmt/native/kernels.c", "nmt/native/training.c"],
    depends=["nmt/native/vectors.h"],
    extra_compile_args=["-O3", "-fno-math-errno", "-Wno-psabi", "-fopenmp"],
    libraries=["m"],
    optional=True,
)

setup(
    cmdclass={"build_py": BuildWithConfigs},
    ext_modules=[KERNELS] if sys.platform == "linux" else [],
    long_description=absolute_readme(),
    long_description_content_type="text/markdown",
)
