"""Models of the Hugging Face hub, in the layout that `nmt-export --hub` writes."""

from pathlib import Path

from nmt.errors import UserError
from nmt.storage.bundle import REQUIRED, SHORTLIST
from nmt.version import install_command

PREFIX = "hf:"


def is_hub_name(path: Path) -> bool:
    """Return whether a path is the name of a model of the hub, hf://USER/REPOSITORY."""
    return path.parts[:1] == (PREFIX,) and not path.exists()


def fetch_model(name: Path) -> tuple[Path, Path]:
    """Download the files of a bundle from the hub, unless they are in its cache.

    Args:
        name: hf://USER/REPOSITORY, or hf://USER/REPOSITORY@REVISION; `Path` removes a slash

    Returns:
        the folder of the files, and the folder inside which their links lead

    Raises:
        UserError: it is no such name, huggingface_hub is not installed, or the download fails
    """
    repository, _, revision = "/".join(name.parts[1:]).partition("@")
    location = f"hf://{repository}"
    if repository.count("/") != 1:
        raise UserError("is no model of the hub; give hf://USER/REPOSITORY", location)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        message = f"requires the package huggingface_hub; run {install_command('hub')}"
        raise UserError(message, location) from None
    try:
        # Nothing else of a repository is downloaded, in particular no code and no pickle.
        patterns = [*REQUIRED, SHORTLIST, "vocabulary/*"]
        folder = snapshot_download(repository, revision=revision or None, allow_patterns=patterns)
    # A missing repository, a refused connection, an invalid name: each has a class of its own.
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UserError(f"cannot be downloaded: {reason}", location) from error
    snapshot = Path(folder)
    # The cache links a snapshot to files that snapshots share, two levels above.
    return snapshot, snapshot.parents[1]
