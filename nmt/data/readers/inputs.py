"""Recognition of the inputs of `nmt-init`: files in any format, folders and archives."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from nmt.data.languages import language_code
from nmt.data.readers.input_file import InputFile, archive_members, plain_file
from nmt.data.readers.pair_text import PairText, Reader, TwoFiles
from nmt.data.readers.records import JsonLinesReader, ParquetReader, Selection, TableReader
from nmt.data.readers.tmx import TmxReader
from nmt.data.table import OTHER_FORMATS, TABLES
from nmt.errors import UserError
from nmt.files import is_dir

Part = Literal["train", "valid", "test"]

RECORDS = {".jsonl": JsonLinesReader, ".ndjson": JsonLinesReader, ".parquet": ParquetReader}
SINGLE_FILES = (*TABLES, ".tmx", *RECORDS)
ARCHIVE = ".zip"
# Names of the parts of a corpus, at the beginning or the end of a file name.
PART_NAMES: dict[Part, re.Pattern[str]] = {
    "train": re.compile(r"^train|[._-]train(ing)?$", re.I),
    "valid": re.compile(r"^(valid|val|dev)|[._-](valid(ation)?|val|dev)$", re.I),
    "test": re.compile(r"^test|[._-]test$", re.I),
}
# Suffixes of language codes: de, deu, zh-CN, sr_Latn.
LANGUAGE_SUFFIX = re.compile(r"\.[a-z]{2,3}([-_][A-Za-z]{2,4})?")
# Suffixes that are no languages, of files in the folder of a corpus.
OTHER_SUFFIXES = frozenset(
    {".txt", ".md", ".xml", ".ids", ".scores", ".py", ".sh", ".yml", ".csv", ".tsv", ".tmx"}
    | {".log", ".pdf", ".png", ".jpg", ".out", ".bin", ".idx", ".npy", ".doc", ".rst", ".gz"}
)
LANGUAGE_PAIR = re.compile(r"\.([a-z]{2,3})-([a-z]{2,3})$")
SAMPLE_LINES = 50
MAX_LISTED = 8


@dataclass
class Inputs:
    """The parts of an input.

    Attributes:
        train: pairs for training; validation and test are split off from them unless given
        valid, test: pairs for validation and test, if they are given
        notes: sentences about the choice of files
    """

    train: PairText
    valid: PairText | None = None
    test: PairText | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def parts(self) -> dict[str, PairText]:
        """Return the given parts by name."""
        named = {"train": self.train, "valid": self.valid, "test": self.test}
        return {name: text for name, text in named.items() if text is not None}


def find_inputs(
    paths: Sequence[Path],
    *,
    valid: Sequence[Path] = (),
    test: Sequence[Path] = (),
    selection: Selection = (None, None),
) -> Inputs:
    """Recognize the format of files, a folder or an archive, and its parts.

    Args:
        paths: one file or folder, or the two files of a text
        valid, test: files of the validation and the test part, named in the same way
        selection: columns and languages that the user has selected

    Raises:
        UserError: if they contain no sentence pairs of two languages
    """
    if len(paths) == 1 and (is_dir(paths[0]) or paths[0].suffix.lower() == ARCHIVE):
        inputs = _find_collection(paths[0], selection)
    else:
        inputs = Inputs(PairText([_read(paths, selection)]))
    for name, files in (("valid", valid), ("test", test)):
        if files:
            setattr(inputs, name, PairText([_read(files, selection)]))
    for part in inputs.parts.values():
        inputs.notes += [note for reader in part.readers for note in reader.notes]
    return inputs


def _find_collection(path: Path, selection: Selection) -> Inputs:
    """Return the parts of a folder or an archive."""
    if is_dir(path):
        names = sorted(one for one in path.iterdir() if not one.name.startswith("."))
        files = [plain_file(one) for one in names if one.is_file() and one.suffix != ARCHIVE]
    else:
        files = sorted(archive_members(path), key=lambda file: str(file.path))
    groups: dict[str, dict[str, InputFile]] = defaultdict(dict)
    for file in files:
        suffix = file.suffix
        if suffix in SINGLE_FILES or (suffix == ".txt" and _has_tabs(file)):
            groups[str(file.stem)] = {"": file}
        elif _is_language(file.stem.suffix, selection[1]):
            groups[str(file.stem.with_suffix(""))][file.stem.suffix[1:]] = file
    readers: dict[str, Reader] = {}
    for stem, sides in groups.items():
        if "" in sides:
            readers[stem] = _read_single(sides[""], selection)
        elif len(sides) > 1:
            readers[stem] = _choose_sides(stem, sides, selection[1])
    if not readers:
        listed = ", ".join(file.path.name for file in files[:MAX_LISTED]) or "nothing"
        message = f"has no pair of text files, such as NAME.de and NAME.en, and no table ({listed})"
        raise UserError(f"{message}; give the files", str(path))
    return _assign_parts(readers, path)


def _assign_parts(readers: dict[str, Reader], path: Path) -> Inputs:
    by_part: dict[str, list[str]] = defaultdict(list)
    for stem in readers:
        name = LANGUAGE_PAIR.sub("", Path(stem).name)
        if Path(name).suffix in (*SINGLE_FILES, ".txt"):
            name = Path(name).stem
        part = next((one for one, pattern in PART_NAMES.items() if pattern.search(name)), "other")
        by_part[part].append(stem)
    training = by_part["train"] or by_part["other"]
    if not training:
        message = "has no training text; give its files, and these by --valid and --test"
        raise UserError(message, str(path))
    inputs = Inputs(PairText([readers[stem] for stem in training]))
    used = list(training)
    for part in ("valid", "test"):
        if by_part[part]:
            setattr(inputs, part, PairText([readers[by_part[part][0]]]))
            used.append(by_part[part][0])
    shown = ", ".join(Path(stem).name for stem in used)
    inputs.notes.append(f"{path}: reading {shown}")
    if ignored := [Path(stem).name for stem in readers if stem not in used]:
        inputs.notes.append(f"{path}: not reading {', '.join(ignored[:MAX_LISTED])}")
    return inputs


def _choose_sides(
    stem: str, sides: dict[str, InputFile], languages: tuple[str, str] | None
) -> Reader:
    """Return the reader of two of the files that differ in their suffix only."""
    chosen = list(sides)
    if languages is not None:
        codes = {language_code(suffix) or suffix: suffix for suffix in sides}
        wanted = [language_code(one) or one for one in languages]
        if missing := [one for one in wanted if one not in codes]:
            message = f"has no side {missing[0]}; its suffixes are: {', '.join(sides)}"
            raise UserError(message, stem)
        chosen = [codes[one] for one in wanted]
    elif (match := LANGUAGE_PAIR.search(stem)) and set(match.groups()) <= set(sides):
        chosen = list(match.groups())
    elif len(sides) > 2:
        message = f"has {len(sides)} languages ({', '.join(sides)})"
        raise UserError(f"{message}; select source and target with --languages", stem)
    return TwoFiles(sides[chosen[0]], sides[chosen[1]], (chosen[0], chosen[1]))


def _read(paths: Sequence[Path], selection: Selection) -> Reader:
    """Return the reader of one file with pairs, or of the two files of a text."""
    files = [plain_file(path) for path in paths]
    if len(files) > 2:
        message = "more than two files; give source and target, or a folder with all of them"
        raise UserError(message, " ".join(map(str, paths)))
    for file in files:
        if file.suffix in SINGLE_FILES and len(files) > 1:
            raise UserError("has both sides; give it alone", str(file.path))
    if len(files) == 2:
        codes = [_code_of(file) for file in files]
        languages = selection[1]
        if languages is not None:
            wanted = [language_code(one) or one for one in languages]
            if codes == wanted[::-1]:
                files.reverse()
            codes = list(languages)
        return TwoFiles(files[0], files[1], (codes[0], codes[1]))
    file = files[0]
    if file.suffix in OTHER_FORMATS and file.suffix not in SINGLE_FILES:
        raise UserError(OTHER_FORMATS[file.suffix], str(file.path))
    if file.suffix in SINGLE_FILES or _has_tabs(file):
        return _read_single(file, selection)
    return _find_partner(file, selection[1])


def _find_partner(file: InputFile, languages: tuple[str, str] | None) -> Reader:
    """Return the reader of a text file and its translation, which differs in the suffix."""
    folder, name = file.path.parent, file.stem.stem
    sides = {file.stem.suffix[1:]: file}
    for path in sorted(folder.glob(f"{_escape(name)}.*")):
        other = plain_file(path)
        if other.stem.stem == name and _is_language(other.stem.suffix, languages):
            sides.setdefault(other.stem.suffix[1:], other)
    if len(sides) < 2 or not _is_language(file.stem.suffix, languages):
        message = f"has one side; give its translation too, such as {folder / name}.en, or a table"
        raise UserError(message, str(file.path))
    if languages is None and len(sides) == 2 and LANGUAGE_PAIR.search(name) is None:
        source, target = sides  # the given file is the source
        return TwoFiles(sides[source], sides[target], (source, target))
    return _choose_sides(str(folder / name), sides, languages)


def _read_single(file: InputFile, selection: Selection) -> Reader:
    if file.suffix == ".tmx":
        return TmxReader(file, selection[1])
    return RECORDS.get(file.suffix, TableReader)(file, selection)


def _code_of(file: InputFile) -> str | None:
    suffix = file.stem.suffix
    return suffix[1:] if _is_language(suffix, None) else None


def _is_language(suffix: str, languages: tuple[str, str] | None) -> bool:
    """Return whether a suffix names a language."""
    if languages is not None and suffix[1:] in languages:
        return True
    known = language_code(suffix[1:]) is not None
    return known or bool(LANGUAGE_SUFFIX.fullmatch(suffix) and suffix not in OTHER_SUFFIXES)


def _has_tabs(file: InputFile) -> bool:
    """Return whether a text file is a table: all of its first lines have as many tabs."""
    if file.suffix == ".parquet":
        return False
    counts = {line.count("\t") for line in islice(file.lines(), SAMPLE_LINES) if line.strip()}
    return len(counts) == 1 and counts != {0}


def _escape(name: str) -> str:
    return re.sub(r"([*?[])", r"[\1]", name)
