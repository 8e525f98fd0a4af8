"""Constraints of the lines of a text, checked before the first one is translated."""

from collections import Counter
from collections.abc import Sequence

from nmt.config.search_options import SearchOptions
from nmt.data.preparation import Preparation
from nmt.data.text import is_blank
from nmt.errors import UserError
from nmt.search.constraints.compiler import ConstraintCompiler, ResolvedConstraints
from nmt.search.constraints.request import Constraints
from nmt.search.source_line import SourceLine


def resolve_lines(
    compiler: ConstraintCompiler,
    preparation: Preparation,
    lines: Sequence[SourceLine],
    options: SearchOptions,
    file: str,
) -> list[ResolvedConstraints]:
    """Return the constraints of lines in the spelling of a vocabulary.

    Args:
        compiler: compiler for the target vocabulary
        preparation: preparation of the text, which applies to constraints as well
        lines: lines to translate
        options: complete search options
        file: name of the lines' file for error messages; empty for no file

    Raises:
        UserError: if constraints contradict each other, the vocabulary or the options
    """
    check_options([line.constraints for line in lines], options)
    resolved = []
    for line in lines:
        location = line.location(file)
        constraints, at_most = prepare(line, preparation, location)
        own = compiler.resolve(constraints, location, at_most)
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


def prepare(
    line: SourceLine, preparation: Preparation, location: str
) -> tuple[Constraints, Counter[str]]:
    """Return the constraints of a line in the text that its vocabulary reads.

    Returns:
        the constraints, and how often a translation may contain each placeholder. Search observes
        this, because restoring a translation would remove or replace surplus ones, and could thus
        violate the constraints.

    Raises:
        UserError: if constraints contradict the placeholders of the source sentence
    """
    own, placeholders = line.constraints, preparation.placeholders
    if not own:
        return own, Counter()

    def target(text: str) -> str:
        return preparation.target(text, line.text) if text.strip() else text

    # A space at the end of a prefix has a meaning, and tokenization removes it.
    space = " " * (own.prefix != own.prefix.rstrip())
    prepared = Constraints(
        target(own.prefix).rstrip() + space,
        tuple(map(target, own.terms)),
        tuple(map(target, own.forbid)),
    )
    if placeholders is None:
        return prepared, Counter()
    expected, renames = placeholders.expected(line.text), placeholders.renames
    for phrase, original in zip(prepared.forbid, own.forbid, strict=True):
        if renames and expected[phrase.strip()]:
            message = "is a placeholder of the sentence, which its translation has to contain"
            raise UserError(f"forbid '{original.strip()}' {message}; remove it", location)
    limits = Counter[str]()
    for mask in placeholders.masks:
        terms = Counter(prepared.terms).items()
        in_terms = [n * term.count(mask) for term, n in terms]
        required = max([prepared.prefix.count(mask), *in_terms])
        if renames and required > expected[mask]:
            message = f"require a placeholder {required} times, but the sentence contains it"
            raise UserError(f"the constraints {message} {expected[mask]} times", location)
        if renames:
            limits[mask] = expected[mask]
        elif mask not in prepared.terms:  # symbols may be words that only the translation needs
            limits[mask] = max(expected[mask], required, sum(in_terms))
    return prepared, limits


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
