"""Conditions of models for other engines, and the files that accompany them."""

from pathlib import Path

from nmt.data.vocabularies.saved import vocabulary_files
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.errors import UserError
from nmt.inference.saved_model import SavedModel

EXAMPLES = Path(__file__).parent / "examples"


def check_text_model(saved: SavedModel, option: str) -> None:
    """Check that the text of a model is segmented by SentencePiece and not prepared otherwise.

    Raises:
        UserError: the model translates images, or text of another kind, or has an attention for
            alignments
    """
    vocabularies = (saved.source, saved.target_vocabulary)
    if not all(isinstance(one, SentencePieceVocabulary) for one in vocabularies):
        raise UserError(f"--{option}: requires vocabularies of SentencePiece; write FILE.nmt")
    if saved.experiment.data.is_right_to_left:
        raise UserError(
            f"--{option}: data.target_order: right_to_left has no counterpart there; write FILE.nmt"
        )
    if saved.model.alignment is not None:
        raise UserError(
            f"--{option}: model.alignment_size has no counterpart there; write FILE.nmt"
        )
    preparation = saved.preparation
    if preparation.pre or preparation.post or preparation.placeholders:
        raise UserError(
            f"--{option}: data.pre, data.post and data.placeholders have no counterpart there; "
            "write FILE.nmt"
        )


def write_companions(folder: Path, saved: SavedModel, example: str) -> None:
    """Write the vocabularies of a model and an example of its use into a folder."""
    source = saved.source
    assert isinstance(source, SentencePieceVocabulary)
    for name, content in vocabulary_files((source, saved.target_vocabulary)).items():
        (folder / name).write_bytes(content)
    (folder / "translate.py").write_bytes((EXAMPLES / example).read_bytes())
