"""The option --backend, and the options that a backend does not support."""

import argparse
from typing import TYPE_CHECKING

from nmt.cli.arguments import option_name
from nmt.cli.constraint_options import OPTIONS as CONSTRAINTS
from nmt.errors import UserError

if TYPE_CHECKING:
    from argparse import _ArgumentGroup

UNSUPPORTED = ("shortlist", "block_ngram_repeat")
# Only of nmt-translate; --alignments, --gold and --quality of nmt-eval are files to evaluate.
UNSUPPORTED_OUTPUTS = (
    *("sample", "quality", "alternatives", "beam_tree", "heads", "gold"),
    *CONSTRAINTS,
)
ATTENTION_OUTPUTS = ("alignments", "attention", "report")


def add_backend(group: "_ArgumentGroup") -> None:
    """Add the option of the backend.

    Args:
        group: group of options that receives it
    """
    group.add_argument(
        "--backend",
        choices=["torch", "ctranslate2"],
        default="torch",
        help="ctranslate2 searches by CTranslate2, about twice as fast on a CPU; a single "
        "Transformer only (default: torch)",
    )


def check_backend(arguments: argparse.Namespace) -> None:
    """Raise UserError for options that the backend does not support, before a model is loaded."""
    if arguments.backend == "torch":
        return
    names, cause = [*UNSUPPORTED], "--backend ctranslate2"
    if len(arguments.model or ()) > 1:
        raise UserError("-m: --backend ctranslate2 has no ensembles; give one model, or use torch")
    if arguments.fast:
        raise UserError("--fast: is not possible with --backend ctranslate2; use --precision int8")
    if arguments.recurrence != "auto":
        raise UserError("--recurrence: has no effect with --backend ctranslate2; remove it")
    if _translates(arguments):
        names += UNSUPPORTED_OUTPUTS
        if arguments.score_targets:
            names, cause = [*names, *ATTENTION_OUTPUTS], f"--score-targets and {cause}"
    for name in names:
        if getattr(arguments, name):
            message = f"is not possible with {cause}; remove it, or use --backend torch"
            raise UserError(f"{option_name(name)}: {message}")


def shows_details(arguments: argparse.Namespace) -> bool:
    """Return whether the output contains attention or scores of single tokens."""
    names = ("jsonl", *ATTENTION_OUTPUTS)
    return _translates(arguments) and any(getattr(arguments, name) for name in names)


def _translates(arguments: argparse.Namespace) -> bool:
    """Return whether the command is nmt-translate, and not nmt-eval."""
    return hasattr(arguments, "score_targets")
