"""Neural machine translation with attention you can see and trust.

from nmt import Translator
translator = Translator.load("runs/multi30k_de_en")
translator.translate(["Ein Mann liest."])[0].text
"""

from typing import TYPE_CHECKING, Any

from nmt.version import VERSION

if TYPE_CHECKING:
    from nmt.search.translation import Translation
    from nmt.search.translator import Translator

__all__ = ["Translation", "Translator", "__version__"]

__version__ = VERSION


def __getattr__(name: str) -> Any:
    # torch takes seconds to import, and config errors and --help do without it.
    if name == "Translator":
        from nmt.search.translator import Translator

        return Translator
    if name == "Translation":
        from nmt.search.translation import Translation

        return Translation
    raise AttributeError(f"module 'nmt' has no attribute '{name}'")
