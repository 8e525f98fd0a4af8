"""Report of the characters that a vocabulary changes or cannot represent."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice

from nmt.data.corpus import Corpus
from nmt.data.preparation import UNPREPARED, Preparation
from nmt.data.token_corpus import Array, TokenCorpus
from nmt.data.vocabulary import Vocabulary
from nmt.errors import printable

# Lines that are compared with their normalized form, which takes a quarter of a second.
MAX_LINES = 20_000
MAX_NAMED_CHARACTERS = 5
# Shares of unknown tokens that are warned about, and refused.
MAX_UNKNOWN_UNNOTICED = 0.001
MAX_UNKNOWN = 0.2


@dataclass
class TextCoverage:
    """Normalized characters and unknown tokens of one side of a corpus.

    Attributes:
        side: source or target
        lines: lines that were examined for changes by normalization
        changed_lines: those that normalization changes, apart from repeated and outer spaces
        changed: characters that are lost by that, and their numbers of occurrences
        tokens, unknown_tokens: tokens of the whole corpus, and the unknown ones among them
        unknown: characters or words of the examined lines that are not in the vocabulary, and their
            numbers
        unseen: symbols of the vocabulary that occur on neither side of the corpus
    """

    side: str
    lines: int = 0
    changed_lines: int = 0
    changed: Counter[str] = field(default_factory=Counter)
    tokens: int = 0
    unknown_tokens: int = 0
    unknown: Counter[str] = field(default_factory=Counter)
    unseen: list[str] = field(default_factory=list)

    @property
    def unknown_share(self) -> float:
        """Return the share of tokens that are unknown."""
        return self.unknown_tokens / max(self.tokens, 1)

    def __str__(self) -> str:
        changes = f"normalization changes {self.changed_lines} of {self.lines} lines"
        unknown = f"{100 * self.unknown_share:.2f} % of the tokens are unknown"
        # Without an unknown token, characters outside the vocabulary are parts of symbols.
        names = _named(self.unknown) if self.unknown_tokens else ""
        return f"{changes}{_named(self.changed)}, {unknown}{names}"

    def warnings(self) -> list[str]:
        """Return warnings about text that a model cannot write, and about unknown tokens."""
        warnings = []
        if self.changed_lines and self.side == "target":
            warnings.append(
                f"{self.changed_lines} of {self.lines} target lines cannot be translated exactly: "
                f"normalization changes their characters{_named(self.changed)}; use "
                "data.vocabulary.normalization: {target: identity} in a new vocabulary to keep them"
            )
        if self.unknown_share >= MAX_UNKNOWN_UNNOTICED:
            warnings.append(f"{self._unknown_words()}; use a vocabulary that was learned from it")
        if self.unseen:
            warnings.append(
                f"the training text does not contain {', '.join(self.unseen)}, so translations "
                "will have other tokens in their place; add sentences with these symbols"
            )
        return warnings

    def refusal(self) -> str | None:
        """Return the reason why the vocabulary does not suit the text, or None."""
        return self._unknown_words() if self.unknown_share > MAX_UNKNOWN else None

    def _unknown_words(self) -> str:
        share = f"{100 * self.unknown_share:.2f} % of the {self.side} tokens"
        return f"{share} are not in the vocabulary{_named(self.unknown)}"


def measure_coverage(
    text: Corpus,
    encoded: TokenCorpus,
    source: Vocabulary | None,
    target: Vocabulary,
    symbols: Sequence[str] = (),
    preparation: Preparation = UNPREPARED,
) -> list[TextCoverage]:
    """Compare a corpus with its vocabularies.

    Args:
        text: the corpus, of which the first lines are compared with their normalized form
        encoded: the same corpus, encoded
        source: vocabulary of the source; None if the source is images
        target: vocabulary of the target
        symbols: user-defined symbols of the vocabularies
        preparation: preparation of the text before the vocabularies
    """
    sides = TextCoverage("source"), TextCoverage("target")
    pairs = list(preparation.pairs(islice(text.pairs(), MAX_LINES)))
    arrays = encoded.arrays
    found = []
    for number, (side, vocabulary, ids) in enumerate(
        zip(sides, (source, target), (arrays.source_tokens, arrays.target_tokens), strict=True)
    ):
        if vocabulary is not None:
            _examine(side, vocabulary, [pair[number] for pair in pairs], ids)
            found.append(side)
    texts = ((source, arrays.source_tokens), (target, arrays.target_tokens))
    sides[1].unseen = [
        symbol for symbol in symbols if not any(_occurs(symbol, *side) for side in texts)
    ]
    return found


def _occurs(symbol: str, vocabulary: Vocabulary | None, ids: Array) -> bool:
    if vocabulary is None:
        return False
    tokens = vocabulary.encode(symbol)
    numbers = [n for n, one in zip(tokens, vocabulary.tokens(tokens), strict=True) if one == symbol]
    return bool(numbers) and bool((ids == numbers[0]).any())


def _examine(side: TextCoverage, vocabulary: Vocabulary, lines: list[str], ids: Array) -> None:
    for line in lines:
        normalized = vocabulary.denormalize(vocabulary.normalize(line))
        if normalized == line:
            continue  # the usual case, and ten times as fast
        normalized, kept = _spaced(normalized), _spaced(line)
        if normalized != kept:
            side.changed_lines += 1
            side.changed += Counter(kept) - Counter(normalized)
    side.lines = len(lines)
    side.unknown = vocabulary.count_unknown(lines)
    side.tokens = len(ids)
    side.unknown_tokens = int((ids == vocabulary.unk).sum())


def _spaced(text: str) -> str:
    """Return a text without repeated and outer spaces, which every vocabulary removes."""
    return " ".join(filter(None, text.split(" ")))


def _named(characters: Counter[str]) -> str:
    """Return the most frequent words, or characters with their code points, in parentheses."""
    names = list(map(_name, _most_common(characters)))
    return f" ({', '.join(names)}{', …' * (len(characters) > len(names))})" if names else ""


def _most_common(characters: Counter[str]) -> Iterable[str]:
    return (character for character, _ in characters.most_common(MAX_NAMED_CHARACTERS))


def _name(character: str) -> str:
    if len(character) > 1:
        return printable(character)
    shown = f"{character} " if character.isprintable() and not character.isspace() else ""
    return f"{shown}U+{ord(character):04X}"
