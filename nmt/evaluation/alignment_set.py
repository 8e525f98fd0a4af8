"""Sentence pairs with gold word alignments, by which the attention of a model is evaluated."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nmt.data.corpus import Corpus
from nmt.data.pharaoh import Link, SentenceLinks, check_links, read_pharaoh
from nmt.errors import UserError
from nmt.evaluation.alignment_error import AlignmentScore, alignment_error_rate


@dataclass(frozen=True)
class AlignmentSet:
    """Sentence pairs with gold alignments.

    Attributes:
        sources, targets: the sentences
        gold: sure and possible links of each pair
    """

    sources: Sequence[str]
    targets: Sequence[str]
    gold: Sequence[SentenceLinks]

    @classmethod
    def load(cls, corpus: Corpus, gold: Path) -> "AlignmentSet":
        """Read the pairs of a corpus and their gold alignments from a Pharaoh file.

        Raises:
            UserError: if a file cannot be read, their numbers of lines differ, a link is to a word
                that does not exist, or no link is sure
        """
        tagged = [(pair, part.tag_words) for part in corpus.parts for pair in part.pairs()]
        pairs, links = [pair for pair, _ in tagged], read_pharaoh(gold)
        if len(pairs) != len(links):
            text = corpus.files[0]
            raise UserError(
                f"has {len(links)} lines of alignments, but {text} has {len(pairs)} pairs; give "
                "one line per pair",
                str(gold),
            )
        gold_links = []
        for number, ((pair, before), own) in enumerate(zip(tagged, links, strict=True), start=1):
            words = len(pair[0].split()) - before, len(pair[1].split())
            check_links(own, *words, f"{gold}:{number}")
            gold_links.append(own.shifted(before))
        if not any(own.sure for own in links):
            raise UserError("has no sure link; write sure links with '-': 3-4", str(gold))
        sources, targets = zip(*pairs, strict=True)
        return cls(sources, targets, gold_links)

    def score(self, alignments: Iterable[Iterable[Link]]) -> AlignmentScore:
        """Return precision, recall and error rate of one alignment per pair."""
        return alignment_error_rate(
            [frozenset(links) for links in alignments],
            [links.sure for links in self.gold],
            [links.possible for links in self.gold],
        )
