"""Constraints of the lines of a text, checked before the first one is translated."""

from collections.abc import Sequence

from nmt.config.search_options import SearchOptions
from nmt.data.text import is_blank
from nmt.errors import UserError
from nmt.search.constraints.compiler import ConstraintCompiler, ResolvedConstraints
from nmt.search.constraints.request import Constraints
from nmt.search.source_line import SourceLine


def resolve_lines(
    compiler: ConstraintCompiler, lines: Sequence[SourceLine], options: SearchOptions, file: str
) -> list[ResolvedConstraints]:
    """Return the constraints of lines in the spelling of a vocabulary.

    Args:
        compiler: compiler for the target vocabulary
        lines: lines to translate
        options: complete search options
        file: name of the lines' file for error messages; empty if there is none

    Raises:
        UserError: if constraints contradict each other, the vocabulary or the options
    """
    check_options([line.constraints for line in lines], options)
    resolved = []
    for line in lines:
        location = line.location(file)
        own = compiler.resolve(line.constraints, location)
        if line.constraints and is_blank(line.text):
            raise UserError("is empty; remove the constraints on its translation", location)
        if options.max_length and own.min_length >= options.max_length:
            raise UserError(
                f"its constraints require {own.min_length} tokens and an end; "
                f"raise max_length ({options.max_length})",
                location,
            )
        resolved.append(own)
    return resolved


def check_options(constraints: Sequence[Constraints], options: SearchOptions) -> None:
    """Raise UserError for search options that cannot satisfy the constraints."""
    has_terms = any(one.terms for one in constraints)
    has_phrases = has_terms or any(one.forbid for one in constraints)
    if has_terms and options.sampling is not None:
        raise UserError("terms require beam search; remove sampling")
    if has_terms and options.beam_size == 1:
        raise UserError("terms require a beam of at least 2; raise beam_size")
    if has_terms and options.block_ngram_repeat:
        raise UserError("terms may repeat n-grams; remove block_ngram_repeat")
    if has_phrases and options.replace_unknown:
        raise UserError("replace_unknown could copy forbidden words and more terms; remove it")
