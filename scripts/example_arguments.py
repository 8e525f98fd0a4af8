"""Arguments of the scripts that generate the text of an example."""

import argparse
from pathlib import Path
from types import ModuleType

from nmt.examples.sizes import check_sizes


def generate(example: ModuleType, output: str, arguments: list[str] | None) -> None:
    """Parse the sizes of the parts and write the text.

    Args:
        example: module of `nmt.examples` with `SIZES` and `write`
        output: default directory
        arguments: command line; None for that of the process
    """
    parser = argparse.ArgumentParser(
        description=example.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(output),
        help="directory to write (default: %(default)s)",
    )
    for name, size in example.SIZES.items():
        parser.add_argument(
            f"--{name}", type=int, default=size, help="pairs (default: %(default)s)"
        )
    parser.add_argument("--seed", type=int, default=1, help="random seed (default: %(default)s)")
    options = parser.parse_args(arguments)
    sizes = {name: getattr(options, name) for name in example.SIZES}
    try:
        check_sizes(sizes, most=getattr(example, "MAX_PAIRS", None))
    except ValueError as error:
        parser.error(str(error))
    options.output.mkdir(parents=True, exist_ok=True)
    example.write(options.output, sizes, options.seed)
