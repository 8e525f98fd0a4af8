"""Loading of a model in a process of its own, for nmt-serve."""

from pathlib import Path
from typing import TYPE_CHECKING

from nmt.cli.process import import_torch

if TYPE_CHECKING:
    from nmt.search.translator import Translator


def load_model(
    path: str,
    checkpoint: str,
    device: str,
    precision: str | None,
    threads: int,
    trust_plugins: bool,
    *,
    fast: bool,
    shortlist: bool,
) -> "Translator":
    """Configure this process and load a model; see `ModelArguments`.

    Raises:
        UserError: if the model cannot be loaded, or has no shortlist
    """
    # Imported here, because the process that only sends this function needs no torch.
    import_torch()
    from nmt.cli.shared_translator import ModelArguments

    models = (Path(path),)
    translator = ModelArguments(
        models, checkpoint, device, precision, "auto", fast, threads, trust_plugins
    ).load()
    if shortlist:
        translator.change_options({"shortlist": True})
    return translator
