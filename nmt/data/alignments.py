"""Word alignments of a training text as links between the tokens of its pairs.

The links of a file are between words, split at white space. Every token of a source word is linked
to every token of the target word. The result is cached like the tokenized text, and depends on it.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import accumulate, chain, islice, zip_longest
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nmt.data.corpus import Corpus
from nmt.data.pharaoh import Link, parse_pharaoh
from nmt.data.preparation import UNPREPARED, Preparation, project
from nmt.data.segmented_text import SegmentedText
from nmt.data.text import read_lines
from nmt.data.token_corpus import Array, TokenCorpus, TokenLinks
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.parallel import map_in_order
from nmt.storage.atomic import is_intact, read_metadata, seal_dir, staging_dir

# Part of every fingerprint: increase it when the meaning of the cached arrays changes.
CACHE_VERSION = 1
# A text of at most this many blocks is aligned before a worker process would have started.
MAX_SERIAL_BLOCKS = 4
ARRAYS = ("offsets", "source", "target")


class PairOfWords(NamedTuple):
    """A pair of lines with its word alignment.

    Attributes:
        links: the line of the Pharaoh file
        location: its file and line, for error messages
        tag_words: words of the source before those that the links count
    """

    source: str
    target: str
    links: str
    location: str
    tag_words: int


class LinkBlock(NamedTuple):
    """Links of consecutive pairs, concatenated.

    Attributes:
        counts: number of links of each pair
        source, target: positions of the linked tokens
    """

    counts: Array
    source: Array
    target: Array


def link_tokens(
    corpus: Corpus,
    tokens: TokenCorpus,
    files: Sequence[Path],
    vocabularies: tuple[Vocabulary, Vocabulary],
    preparation: Preparation = UNPREPARED,
    *,
    cache_dir: Path | None,
    processes: int = 1,
) -> TokenLinks:
    """Return the links between the tokens of a corpus, from its word alignments or the cache.

    Args:
        corpus: the text
        tokens: the same text, tokenized
        files: Pharaoh files, which have one line per pair in their order: one for all parts of the
            corpus, one per part, or several per part
        vocabularies: vocabularies of source and target
        preparation: preparation of the text before the vocabularies
        cache_dir: directory of the cache; None keeps the links in memory
        processes: number of worker processes; does not change the result

    Raises:
        UserError: if a file cannot be read, has another number of lines than the corpus has pairs,
            or has a link to a word that does not exist
    """
    digest, counts = hashlib.sha256(), [0] * len(files)
    for number, file in enumerate(files):
        for line in read_lines(file):
            digest.update(f"{line}\n".encode())
            counts[number] += 1
    fingerprint = digest.hexdigest()
    # If the limit of a part is reached, the files are longer than the text that is read.
    limits, sizes = [part.limit for part in corpus.parts], tokens.part_sizes
    if all(limit is None or size < limit for limit, size in zip(limits, sizes, strict=True)):
        _check_counts(files, counts, corpus, sizes)
    key = json.dumps([CACHE_VERSION, tokens.fingerprint, fingerprint])

    def link() -> tuple[Array, Array, Array]:
        link_one_block = partial(link_block, vocabularies, preparation)
        return _link(_blocks(corpus, tokens, files), link_one_block, files, processes)

    if cache_dir is None:
        return TokenLinks(*link(), fingerprint)
    entry = cache_dir / hashlib.sha256(key.encode()).hexdigest()
    if not (is_intact(entry) and read_metadata(entry).get("fingerprint") == fingerprint):
        arrays = link()
        with staging_dir(cache_dir) as staging:
            for name, array in zip(ARRAYS, arrays, strict=True):
                np.save(staging / f"{name}.npy", array)
            seal_dir(staging, entry, {"fingerprint": fingerprint})
    # Plain arrays that are still memory-mapped.
    offsets, source, target = (
        np.asarray(np.load(entry / f"{name}.npy", mmap_mode="r")) for name in ARRAYS
    )
    return TokenLinks(offsets, source, target, fingerprint)


def _link(
    blocks: Iterator[list[PairOfWords]],
    link: Callable[[list[PairOfWords]], LinkBlock],
    files: Sequence[Path],
    processes: int,
) -> tuple[Array, Array, Array]:
    first = list(islice(blocks, MAX_SERIAL_BLOCKS + 1))
    blocks = chain(first, blocks)
    if processes == 1 or len(first) <= MAX_SERIAL_BLOCKS:
        linked = list(map(link, blocks))
    else:
        with closing(map_in_order(link, blocks, processes)) as results:
            linked = list(results)
    counts, source, target = (np.concatenate(parts) for parts in zip(*linked, strict=True))
    if not len(source):
        raise UserError("has no link; give word alignments of the training text", str(files[0]))
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(counts)]), source, target


def _blocks(
    corpus: Corpus, tokens: TokenCorpus, files: Sequence[Path]
) -> Iterator[list[PairOfWords]]:
    """Yield the pairs that the tokenized corpus contains, in blocks, with their alignments."""
    lines = ((line, file, n) for file in files for n, line in enumerate(read_lines(file), start=1))
    read, kept = 0, np.zeros(tokens.stats.read, bool)
    kept[tokens.lines] = True
    is_limited = any(part.limit is not None for part in corpus.parts)
    for part in corpus.parts:
        before = read
        for block in part.blocks():
            chosen = []
            for source, target, aligned in zip_longest(*block, islice(lines, len(block[0]))):
                if aligned is None:  # of a text with a limit
                    raise _wrong_count(files, read, "the training text", tokens.stats.read)
                line, file, number = aligned
                if kept[read]:
                    location = f"{file}:{number}"
                    chosen.append(PairOfWords(source, target, line, location, part.tag_words))
                read += 1
            yield chosen
        if is_limited and part is not corpus.parts[-1]:
            # Skip the lines of the pairs beyond the limit.
            pairs = sum(len(sources) for sources, _ in replace(part, limit=None).blocks())
            skipped = pairs - (read - before)
            next(islice(lines, skipped, skipped), None)


def _check_counts(
    files: Sequence[Path], counts: Sequence[int], corpus: Corpus, sizes: Sequence[int]
) -> None:
    """Check the numbers of lines of the files against the numbers of pairs of the parts.

    A line that one part lacks and another one has in excess would shift all lines between them.
    """
    if len(files) == len(sizes) > 1:
        for file, count, part, size in zip(files, counts, corpus.parts, sizes, strict=True):
            if count != size:
                raise _wrong_count([file], count, part.name, size)
    if sum(counts) != sum(sizes):
        raise _wrong_count(files, sum(counts), "the training text", sum(sizes))
    line_ends, pair_ends = set(accumulate(counts)), set(accumulate(sizes))
    if not (line_ends <= pair_ends or pair_ends <= line_ends):
        message = "end between the pairs of a corpus; give one file per corpus, or one for all"
        raise UserError(message, ", ".join(map(str, files)))


def _wrong_count(files: Sequence[Path], lines: int, text: str, pairs: int) -> UserError:
    return UserError(
        f"has {lines} lines of alignments, but {text} has {pairs} pairs; give one line per pair, "
        "which is empty for a pair without links",
        ", ".join(map(str, files)),
    )


def link_block(
    vocabularies: tuple[Vocabulary, Vocabulary],
    preparation: Preparation,
    block: list[PairOfWords],
) -> LinkBlock:
    """Link the tokens of pairs whose words are linked.

    Raises:
        UserError: for a malformed link, and one to a word that does not exist
    """
    linked = [_links_of_tokens(vocabularies, preparation, pair) for pair in block]
    flat = np.array(list(chain.from_iterable(linked)), np.int32).reshape(-1, 2)
    counts = np.fromiter(map(len, linked), np.int64, len(linked))
    return LinkBlock(counts, flat[:, 0], flat[:, 1])


def _links_of_tokens(
    vocabularies: tuple[Vocabulary, Vocabulary], preparation: Preparation, pair: PairOfWords
) -> list[Link]:
    links = parse_pharaoh(pair.links, pair.location).possible
    if not links:
        return []
    texts = pair.source, pair.target
    prepared = preparation.source(pair.source), preparation.target(pair.target, pair.source)
    sides = [
        # The words are those of the files, and the tokens those of the prepared text.
        SegmentedText(text, project(vocabulary.spans(read), read, text))
        for text, read, vocabulary in zip(texts, prepared, vocabularies, strict=True)
    ]
    lengths = len(sides[0].words) - pair.tag_words, len(sides[1].words)
    for link in sorted(links):
        for name, position, length in zip(("source", "target"), link, lengths, strict=True):
            if position >= length:
                raise UserError(
                    f"link {link[0]}-{link[1]}, but the {name} has {length} words, numbered from "
                    "0; align the text of the training as it is, split at white space, and write "
                    "SOURCE-TARGET",
                    pair.location,
                )
    source, target = (side.pieces_of_words for side in sides)
    source = source[pair.tag_words :]
    # A token that covers several words may be linked to another one twice.
    return sorted({(s, t) for i, j in links for s in source[i] for t in target[j]})
