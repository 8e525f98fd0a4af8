"""Language of a text among the source languages of a service."""

from collections.abc import Sequence

from nmt.data.languages import (
    LANGUAGE_OF_SCRIPT,
    SCRIPT_OF_LANGUAGE,
    TOGETHER,
    identify_lines,
    scripts_of,
)

CERTAIN = 100.0  # percent


def detect(text: str, sources: Sequence[str]) -> list[tuple[str, float]]:
    """Return the languages that a text may be in, with their confidences in percent.

    The script decides where it can; then lingua if it is installed and the text is long enough;
    else the source languages in the script of the text share the confidence equally.

    Args:
        text: a text in one language
        sources: source languages of the service
    """
    scripts = scripts_of([text])
    # Japanese is written in kana and in Chinese characters, Korean with some of the latter.
    main = next((one for one in TOGETHER if one in scripts), scripts[0] if scripts else None)
    if main in LANGUAGE_OF_SCRIPT:
        return [(LANGUAGE_OF_SCRIPT[main], CERTAIN)]
    if main is not None and (identified := identify_lines([text])) and identified[0] is not None:
        return [(identified[0], CERTAIN)]
    fitting = [one for one in sources if SCRIPT_OF_LANGUAGE.get(one, main) == main]
    if main is None or not fitting:
        return [(one, 0.0) for one in sources]
    return [(one, CERTAIN / len(fitting)) for one in fitting]
