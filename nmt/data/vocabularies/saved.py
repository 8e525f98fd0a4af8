"""Vocabularies of a run directory."""

from pathlib import Path

from nmt.data.vocabularies.files import load_own
from nmt.data.vocabulary import Vocabularies
from nmt.errors import UserError
from nmt.files import is_dir, is_file
from nmt.storage.atomic import publish_dir, staging_dir
from nmt.storage.bundle import Bundle
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


def load_bundled_vocabularies(bundle: Bundle) -> Vocabularies:
    """Load the vocabularies of a bundle, as `load_vocabularies` does those of a run.

    Raises:
        UserError: if one is missing, or cannot be read
    """
    files = {Path(name).stem: name for name in bundle.vocabularies}
    loaded = {side: load_own(bundle.path / f, bundle.files[f]) for side, f in files.items()}
    target = loaded.get("joint") or loaded.get("target")
    if target is None:
        raise UserError("has no target vocabulary; copy it again", str(bundle.path))
    return loaded.get("source", loaded.get("joint")), target


def save_vocabularies(run: RunDir, vocabularies: Vocabularies) -> None:
    """Write the vocabularies of a run atomically."""
    with staging_dir(run.path, run.vocabulary.name) as staging:
        for name, content in vocabulary_files(vocabularies).items():
            (staging / name).write_bytes(content)
        publish_dir(staging, run.vocabulary)


def vocabulary_files(vocabularies: Vocabularies) -> dict[str, bytes]:
    """Return the content of each file of vocabularies; one of both sides if they are joint."""
    source, target = vocabularies
    is_joint = source is not None and source.has_same_tokens(target)
    files = {f"{'joint' if is_joint else 'target'}{target.suffix}": target.serialized}
    # The tokens of a joint one may have another normalization of the source.
    if source is not None and source.fingerprint != target.fingerprint:
        files[f"source{source.suffix}"] = source.serialized
    return files
