"""Neural machine translation with attention you can see and trust.

import nmt

run = nmt.train("my.yaml")
translate = run.translator()
print(translate("Ein Mann liest."))
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nmt.errors import UserError, UserErrors
from nmt.version import VERSION

if TYPE_CHECKING:
    from nmt.api.curves import plot
    from nmt.api.evaluation import Evaluation, evaluate
    from nmt.api.experiment import Experiment
    from nmt.api.run import Run
    from nmt.api.training import check, open_trainer, train
    from nmt.search.source_encoding import SourceEncoding
    from nmt.search.translation import Translation
    from nmt.search.translator import Translator
    from nmt.training.callback import Callback
    from nmt.training.hook import Update
    from nmt.training.trainer import Trainer

__version__ = VERSION

# torch takes seconds to import, and config errors and --help do without it.
_MODULES = {
    "Callback": "nmt.training.callback",
    "Evaluation": "nmt.api.evaluation",
    "Experiment": "nmt.api.experiment",
    "Run": "nmt.api.run",
    "SourceEncoding": "nmt.search.source_encoding",
    "Trainer": "nmt.training.trainer",
    "Translation": "nmt.search.translation",
    "Translator": "nmt.search.translator",
    "Update": "nmt.training.trainer",
    "check": "nmt.api.training",
    "evaluate": "nmt.api.evaluation",
    "open_trainer": "nmt.api.training",
    "plot": "nmt.api.curves",
    "train": "nmt.api.training",
}

__all__ = [
    "Callback",
    "Evaluation",
    "Experiment",
    "Run",
    "SourceEncoding",
    "Trainer",
    "Translation",
    "Translator",
    "Update",
    "UserError",
    "UserErrors",
    "__version__",
    "check",
    "evaluate",
    "open_trainer",
    "plot",
    "train",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'nmt' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULES})
