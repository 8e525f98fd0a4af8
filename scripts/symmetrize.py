r"""Combine the word alignments of both directions by grow-diag-final-and.

    nmt-translate -m runs/de_en test.de --score-targets test.en --alignments forward -o scores.en
    nmt-translate -m runs/en_de test.en --score-targets test.de --alignments reverse -o scores.de
    python scripts/symmetrize.py forward reverse --swap --output links

Links that both directions have are kept. A link of one direction is added if it touches a kept one,
also diagonally, and one of its words has no link yet; in the end, if both of its words have none.
Koehn et al. 2005, "Edinburgh System Description for the 2005 IWSLT Speech Translation Evaluation".
"""

import argparse
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from itertools import product
from pathlib import Path

from nmt.data.pharaoh import Link, read_pharaoh
from nmt.search.alignment import to_pharaoh

NEIGHBORS = [step for step in product((-1, 0, 1), repeat=2) if step != (0, 0)]


def grow_diag_final_and(forward: AbstractSet[Link], reverse: AbstractSet[Link]) -> list[Link]:
    """Return the symmetrized links of a sentence, sorted."""
    links = sorted(forward & reverse)
    sources, targets = ({link[side] for link in links} for side in (0, 1))

    def add(link: Link) -> None:
        links.append(link)
        sources.add(link[0])
        targets.add(link[1])

    # The loop also visits the links that it adds. A link that is refused once never fits later.
    for source, target in links:
        for link in ((source + i, target + j) for i, j in NEIGHBORS):
            has_free_word = link[0] not in sources or link[1] not in targets
            if link in forward | reverse and has_free_word:
                add(link)
    for link in (*sorted(forward), *sorted(reverse)):
        if link[0] not in sources and link[1] not in targets:
            add(link)
    return sorted(links)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read both files and write the symmetrized links."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("forward", type=Path, help="Pharaoh file of links SOURCE-TARGET")
    add("reverse", type=Path, help="Pharaoh file of the other direction")
    add("--swap", action="store_true", help="links of REVERSE are TARGET-SOURCE (default: off)")
    add("--output", type=Path, required=True, help="Pharaoh file to write")
    options = parser.parse_args(arguments)
    forward = [one.possible for one in read_pharaoh(options.forward)]
    reverse = [one.possible for one in read_pharaoh(options.reverse)]
    if len(forward) != len(reverse):
        parser.error(f"{options.forward} and {options.reverse} must have equally many lines")
    if options.swap:
        reverse = [frozenset((target, source) for source, target in one) for one in reverse]
    lines = map(to_pharaoh, map(grow_diag_final_and, forward, reverse))
    text = "".join(f"{line}\n" for line in lines)
    options.output.write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
