#!/usr/bin/env python3
"""Generate the text of `nmt.examples.dates` with other sizes or another seed."""

from example_arguments import generate

from nmt.examples import dates


def main(arguments: list[str] | None = None) -> None:
    """Generate all parts."""
    generate(dates, "data/dates", arguments)


if __name__ == "__main__":
    main()
