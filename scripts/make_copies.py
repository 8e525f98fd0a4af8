#!/usr/bin/env python3
"""Generate the text of `nmt.examples.copies` with other sizes or another seed."""

from example_arguments import generate

from nmt.examples import copies


def main(arguments: list[str] | None = None) -> None:
    """Generate all parts."""
    generate(copies, "data/copy", arguments)


if __name__ == "__main__":
    main()
