"""Run one check; `gpu_check.py` starts this module and reads its standard output."""

import argparse
import importlib
import os
import sys
import time
from types import ModuleType

from gpu_checks.results import write_results

MODULES = {
    "device": "facts",
    "encoder": "facts",
    "system": "correctness",
    "brief": "correctness",
    "loss": "correctness",
    "repeat": "updates",
    "nonfinite": "updates",
    "bahdanau": "speed",
    "gnmt": "speed",
    "search": "speed",
}


def main() -> None:
    """Parse the arguments, import the module of the check and run its cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="NAME or NAME:CONFIG")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    deadline = time.monotonic() + options.seconds
    # Standard output carries results alone; prints of libraries go to standard error.
    output = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    _replace_missing_package()
    from gpu_checks.context import Context

    name, _, config = options.name.partition(":")
    module = importlib.import_module(f"gpu_checks.{MODULES[name]}")
    write_results(getattr(module, name)(Context(options.device, deadline, config)), output)


def _replace_missing_package() -> None:
    """Replace annotated_types, which pydantic brings along, if it is missing.

    Components use it to annotate the ranges of their options. Nothing here validates them.
    """
    try:
        import annotated_types  # noqa: F401
    except ModuleNotFoundError:
        module = ModuleType("annotated_types")
        for name in ("Ge", "Gt", "Le", "Lt"):
            setattr(module, name, lambda bound: bound)
        sys.modules[module.__name__] = module


if __name__ == "__main__":
    main()
