"""Writing an example: its experiment files, and its text where a generator exists."""

import re
from importlib import import_module
from pathlib import Path

from nmt.errors import UserError, suggest
from nmt.files import exists, is_file, read_regular
from nmt.storage.atomic import file_errors, replace_file, staging_dir
from nmt.version import install_command

_PACKAGE = Path(__file__).parents[1]
# A wheel contains the experiment files; in a clone they are next to the package.
CONFIGS = next(
    (path for path in (_PACKAGE / "configs", _PACKAGE.parent / "configs") if path.is_dir()),
    _PACKAGE / "configs",
)
# Modules that generate a text, by its folder in `data`.
GENERATORS = {
    "dates": "nmt.examples.dates",
    "copy": "nmt.examples.copies",
    "shapes": "nmt.examples.shapes",
}
# Examples with several experiment files, the first of which is the one to try first.
GROUPS = {
    "copy": ["copy_ntm", "copy_lstm"],
    "shapes": ["shapes_soft", "shapes_hard"],
    "attention": ["dates_attention", "dates_plain", "dates_peeky"],
}
DATA_README = "https://github.com/attentive-nmt/attentive-nmt/blob/main/data/README.md"


def names() -> list[str]:
    """Return the names of all examples; those with a generated text come first."""
    stems = sorted(path.stem for path in CONFIGS.glob("*.yaml"))
    return list(dict.fromkeys([*GENERATORS, *GROUPS, *stems]))


def write_example(name: str, folder: Path) -> str:
    """Write the experiment files of an example into a folder, and its text into `data` there.

    A text that is there already is kept. So is an experiment file that has not been changed, since
    examples share files.

    Returns:
        the files, and the commands that use them

    Raises:
        UserError: if the name is unknown, or an experiment file exists with another content
    """
    if name not in names():
        raise UserError(f"unknown example '{name}'; {suggest(name, names())}", "--example")
    stems = _with_includes(GROUPS.get(name, [name]))
    contents = {folder / f"{stem}.yaml": _for_folder(_read(stem)) for stem in stems}
    for file, content in contents.items():
        if exists(file) and not _contains(file, content):
            message = "already exists; rename or remove it, or change to another folder"
            raise UserError(message, str(file))
    texts = [_write_text(data, folder) for data in _data_folders(stems)]
    for file, content in contents.items():
        replace_file(file, content)
    files = ", ".join(f"{stem}.yaml" for stem in stems)
    return "\n".join([f"{files}: written", *texts, f"train with: nmt-train {stems[0]}.yaml"])


def _contains(file: Path, content: str) -> bool:
    """Return whether a path is a file with this content."""
    expected = content.encode("utf-8")
    if not is_file(file) or file.stat().st_size != len(expected):
        return False
    return read_regular(file, max_bytes=len(expected)) == expected


def _read(stem: str) -> str:
    file = CONFIGS / f"{stem}.yaml"
    with file_errors(file, "cannot be read"):
        return file.read_text(encoding="utf-8")


def _with_includes(stems: list[str]) -> list[str]:
    """Return experiment files and those that they include."""
    found = list(stems)
    for stem in found:  # grows
        included = re.search(r"^include: (\w+)\.yaml$", _read(stem), re.M)
        if included and included[1] not in found:
            found.append(included[1])
    return found


def _data_folders(stems: list[str]) -> list[str]:
    """Return the folders in `data` that contain the texts of experiment files."""
    lines = [line for stem in stems for line in _read(stem).splitlines() if line[:1] != "#"]
    folders = [folder for line in lines for folder in re.findall(r"\.\./data/([\w-]+)/", line)]
    return list(dict.fromkeys(folders))


def _write_text(data: str, folder: Path) -> str:
    """Generate the text, unless it exists or has no generator; return a line about it."""
    target = folder / "data" / data
    shown = target.as_posix()
    if exists(target):
        return f"{shown}: exists already, and is used"
    if data not in GENERATORS:
        return f"{shown}: put the text there; {DATA_README} names its source"
    try:
        task = import_module(GENERATORS[data])
    except ImportError as error:  # of Pillow, which paints images
        message = f"{error}; run {install_command('captioning')}"
        raise UserError(message, f"--example {data}") from None
    with staging_dir(target.parent, data) as staging:
        task.write(staging, task.SIZES)
        staging.rename(target)
    return f"{shown}: written"


def _for_folder(text: str) -> str:
    """Return an experiment file whose paths and commands are those of a folder with `data`."""
    text = text.replace("../data/", "data/").replace("configs/", "")
    # Scripts are in a clone only, and the text that some of them generate is written.
    text = re.sub(r"python scripts/[^&\n]* && ", "", text)
    return re.sub(r"^#   python scripts/(.*\\\n)*.*\n", "", text, flags=re.M)
