"""Reading the Markdown documents: code blocks, commands, links, headings."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    ROOT / "data" / "README.md",
    ROOT / "benchmarks" / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
FENCE = re.compile(r"^```(?P<language>\w*)(?P<options>[^\n]*)\n(?P<text>.*?)^```$", re.M | re.S)
TITLE = re.compile(r'title="([^"]+)"')
INLINE = re.compile(r"`([^`\n]+(?:\n[^`\n]+)?)`")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)
PROGRAMS = (
    "nmt-init",
    "nmt-train",
    "nmt-translate",
    "nmt-eval",
    "nmt-plot",
    "nmt-compare",
    "nmt-export",
    "nmt-serve",
    "torchrun",
)
COMMANDS = (*PROGRAMS, "python scripts/", "python benchmarks/", "bash scripts/")


class Block(NamedTuple):
    """A fenced code block; `title` is the name of the file that it shows, if it has one."""

    document: Path
    line: int
    language: str
    title: str
    text: str

    @property
    def location(self) -> str:
        """Return FILE:LINE."""
        return f"{self.document.relative_to(ROOT)}:{self.line}"


def blocks(document: Path, language: str = "") -> list[Block]:
    """Return the fenced blocks of a document, or those in one language."""
    text = document.read_text(encoding="utf-8")
    found = []
    for match in FENCE.finditer(text):
        title = TITLE.search(match["options"])
        line = text.count("\n", 0, match.start()) + 1
        name = title[1] if title else ""
        found.append(Block(document, line, match["language"], name, match["text"]))
    return [block for block in found if language in ("", block.language)]


def commands(document: Path) -> list[tuple[int, str]]:
    """Return the lines and texts of all commands: in blocks, indented code and inline code."""
    text = document.read_text(encoding="utf-8")
    joined = re.sub(r"\\\n\s*", lambda match: " " * len(match[0]), text)
    found = []
    for match in re.finditer(r"^ {4}(\S.*)$", joined, re.M):
        found.append((match.start(), match[1]))
    for match in FENCE.finditer(joined):
        if match["language"] in ("bash", ""):
            start = match.start("text")
            for line in match["text"].splitlines(keepends=True):
                found.append((start, line.strip()))
                start += len(line)
    for match in INLINE.finditer(FENCE.sub(lambda match: "\n" * match[0].count("\n"), text)):
        found.append((match.start(), " ".join(match[1].split())))
    return [
        (text.count("\n", 0, start) + 1, command.split("  #")[0].strip())
        for start, command in found
        if command.startswith(COMMANDS)
    ]


def prose(document: Path) -> str:
    """Return the text of a document without its code."""
    text = document.read_text(encoding="utf-8")
    text = FENCE.sub("", text)
    text = re.sub(r"^ {4}\S.*$", "", text, flags=re.M)
    return INLINE.sub("", text)


def links(document: Path) -> list[str]:
    """Return the targets of links and images."""
    return LINK.findall(FENCE.sub("", document.read_text(encoding="utf-8")))


def anchors(document: Path) -> set[str]:
    """Return the anchors of the headings, as Python-Markdown and GitHub derive them."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    slugs = set()
    for heading in HEADING.findall(text):
        slug = re.sub(r"[^\w\s-]", "", heading.replace("`", "")).strip().lower()
        slugs.add(re.sub(r"[\s]+", "-", slug))
    return slugs
