"""Vocabularies of a run directory."""

from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabulary import Vocabularies
from nmt.errors import UserError
from nmt.files import is_dir, is_file
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.storage.run_dir import RunDir


def load_vocabularies(run: RunDir) -> Vocabularies:
    """Load the source and target vocabulary of a run; the same object twice if they are joint.

    Raises:
        UserError: if the directory is not a run, or a vocabulary cannot be read
    """
    if not is_dir(run.vocabulary):
        raise UserError(
            "is not a run: it has no vocabulary; give a directory that nmt-train wrote",
            str(run.path),
        )
    if is_file(run.joint_vocabulary):
        joint = SentencePieceVocabulary.load(run.joint_vocabulary)
        # The same tokens, with another normalization of the source.
        is_normalized = is_file(run.source_vocabulary)
        return SentencePieceVocabulary.load(
            run.source_vocabulary
        ) if is_normalized else joint, joint
    target = SentencePieceVocabulary.load(run.target_vocabulary)
    if not is_file(run.source_vocabulary) and run.has_images():
        return None, target
    return SentencePieceVocabulary.load(run.source_vocabulary), target


def save_vocabularies(run: RunDir, vocabularies: Vocabularies) -> None:
    """Write the vocabularies of a run atomically."""
    source, target = vocabularies
    with staging_dir(run.path, run.vocabulary.name) as staging:
        is_joint = source is not None and source.has_same_tokens(target)
        target_file = run.joint_vocabulary if is_joint else run.target_vocabulary
        target.save(staging / target_file.name)
        if source is not None and source is not target:
            source.save(staging / run.source_vocabulary.name)
        publish_dir(staging, run.vocabulary)
