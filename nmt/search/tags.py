"""Tags of source lines, by which a model of several corpora chooses the target language."""

from collections.abc import Sequence

from nmt.data.corpus import add_tag
from nmt.data.text import is_blank
from nmt.errors import UserError
from nmt.search.source_line import SourceLine
from nmt.search.source_reader import SourceReader


def tagged_texts(
    lines: Sequence[SourceLine],
    tag: str | None,
    *,
    readers: Sequence[SourceReader],
    required: Sequence[str],
    file: str,
) -> list[str]:
    """Return the texts of lines with a tag as their first word.

    Args:
        lines: lines to translate
        tag: the tag; None to leave the texts as they are
        readers: readers of the models, which must know the tag
        required: tags of which a text without `tag` must begin with one; empty if none is required
        file: name of the lines' file for error messages; empty for no file

    Raises:
        UserError: if the model does not know the tag, or requires one that a line lacks
    """
    if tag is not None:
        if not all(reader.has_symbol(tag) for reader in readers):
            raise UserError(f"tag {tag} is unknown to the model; use one of its corpora")
        return [add_tag(line.text, tag) for line in lines]
    if required:
        for line in lines:
            if not is_blank(line.text) and line.text.split(maxsplit=1)[0] not in required:
                raise UserError(
                    f"the model requires a tag, {' or '.join(required)}; choose one with --tag "
                    "(Python: tag=...), or begin the sentence with it",
                    line.location(file),
                )
    return [line.text for line in lines]
