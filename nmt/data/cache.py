"""Encoding a corpus once, into memory-mapped arrays."""

from contextlib import ExitStack
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from nmt.data.album import Album
from nmt.data.corpus import Corpus
from nmt.data.encoded import Array, Arrays, EncodedCorpus, Report, memory_array
from nmt.data.encoding import Recipe, encode
from nmt.data.vocabulary import Vocabulary
from nmt.errors import UserError
from nmt.storage.atomic import (
    Fingerprint,
    fingerprint,
    is_intact,
    read_metadata,
    replace_file,
    seal_dir,
    staging_dir,
)


def encode_corpus(
    corpus: Corpus,
    source_vocabulary: Vocabulary | Album,
    target_vocabulary: Vocabulary,
    *,
    max_length: int,
    folder: Path | None,
    processes: int = 1,
) -> EncodedCorpus:
    """Encode a corpus, or find it encoded in the folder.

    Pairs with an empty side or more than `max_length` pieces on a side are left out and counted.
    Where the corpus's files are as they were (path, size, times of change) and the vocabularies
    too, no text is read. What is damaged is made again.

    Args:
        source_vocabulary: or the album of the corpus, where the source is pictures
        folder: where encodings are kept, a subfolder each; None keeps this one in memory
        processes: that encode; the arrays are the same whatever their number

    Raises:
        UserError: the corpus cannot be read, or no pair is left
    """
    recipe = Recipe(source_vocabulary, target_vocabulary, max_length)
    pictures = source_vocabulary.pictures if isinstance(source_vocabulary, Album) else None
    if folder is None:
        streams = {name: BytesIO() for name in Arrays._fields}
        words = encode(corpus, recipe, streams, processes=processes)
        return _assemble(_in_memory(streams), pictures, words)
    index = folder / f"{recipe.key(*map(_stamp, corpus.files))}.index"
    place = _look_up(index)
    if place is None:
        place = _encode_into(folder, corpus, recipe, processes)
        replace_file(index, place.name)
    # As plain arrays, still mapped: a slice of np.memmap costs several times as much.
    mapped = (np.load(place / f"{name}.npy", mmap_mode="r") for name in Arrays._fields)
    return _assemble(Arrays(*map(np.asarray, mapped)), pictures, read_metadata(place))


def _in_memory(streams: dict[str, BytesIO]) -> Arrays:
    return Arrays(*(memory_array(streams[name]) for name in Arrays._fields))


def _assemble(arrays: Arrays, pictures: Array | None, words: dict[str, Any]) -> EncodedCorpus:
    known = {**words, "report": Report(**words["report"])}
    return EncodedCorpus(arrays, **known, pictures=pictures)


def _look_up(index: Path) -> Path | None:
    """The whole encoding that an index file points to, if there is one."""
    if not index.is_file():
        return None
    place = index.parent / index.read_text(encoding="utf-8", errors="replace")
    return place if is_intact(place) else None


def _stamp(file: Path) -> Fingerprint:
    try:
        return fingerprint(file)
    except OSError as error:
        raise UserError(f"cannot read: {error.strerror}; give a text file", str(file)) from error


def _encode_into(folder: Path, corpus: Corpus, recipe: Recipe, processes: int) -> Path:
    """Encode into a subfolder named by the text and all that decides its ids."""
    with staging_dir(folder) as scratch:
        with ExitStack() as stack:
            streams = {
                name: stack.enter_context((scratch / f"{name}.npy").open("wb"))
                for name in Arrays._fields
            }
            words = encode(corpus, recipe, streams, processes=processes)
        place = folder / str(words["fingerprint"])
        seal_dir(scratch, place, words)
    return place
