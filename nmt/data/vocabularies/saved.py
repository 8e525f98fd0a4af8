"""Vocabularies of a run directory."""

from nmt.data.vocabularies.files import load_own
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
    joint_file, source_file, target_file = run.vocabulary_files()
    if is_file(joint_file):
        joint = load_own(joint_file)
        # The same tokens, with another normalization of the source.
        return load_own(source_file) if is_file(source_file) else joint, joint
    target = load_own(target_file)
    if not is_file(source_file) and run.has_images():
        return None, target
    return load_own(source_file), target


def save_vocabularies(run: RunDir, vocabularies: Vocabularies) -> None:
    """Write the vocabularies of a run atomically."""
    source, target = vocabularies
    with staging_dir(run.path, run.vocabulary.name) as staging:
        is_joint = source is not None and source.has_same_tokens(target)
        target_file = run.joint_vocabulary if is_joint else run.target_vocabulary
        target.save(staging / target_file.with_suffix(target.suffix).name)
        if source is not None and source is not target:
            source.save(staging / run.source_vocabulary.with_suffix(source.suffix).name)
        publish_dir(staging, run.vocabulary)
