"""Writing of experiment files with a comment above each explained setting."""

import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

WIDTH = 100


def write_yaml(settings: Mapping[str, Any], reasons: Mapping[str, str], header: str) -> str:
    """Return the text of an experiment file.

    Args:
        settings: nested mapping of sections
        reasons: comments by the dotted key of a setting
        header: comment at the top of the file; its lines are kept
    """
    lines = [line for text in header.split("\n") for line in _comment(text, "")]
    for section, values in settings.items():
        lines += _comment(reasons[section], "") if section in reasons else []
        lines.append(f"{section}:")
        for key, value in values.items():
            lines += _comment(reasons.get(f"{section}.{key}", ""), "  ")
            lines.append(f"  {key}: {_inline(value)}")
    return "\n".join(lines) + "\n"


def _comment(text: str, indent: str) -> Iterator[str]:
    if text:
        prefix = f"{indent}# "
        yield from textwrap.wrap(
            text, WIDTH, initial_indent=prefix, subsequent_indent=prefix, break_long_words=False
        )


def _inline(value: object) -> str:
    """Return a value in YAML's inline form, on one line."""
    text = yaml.safe_dump(
        value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**6
    )
    return text.removesuffix("\n").removesuffix("\n...")
