#!/usr/bin/env python3
"""Generate the text of `nmt.examples.shapes` with other sizes or another seed."""

from example_arguments import generate

from nmt.examples import shapes


def main(arguments: list[str] | None = None) -> None:
    """Generate all parts."""
    generate(shapes, "data/shapes", arguments)


if __name__ == "__main__":
    main()
