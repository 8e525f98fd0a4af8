"""Fingerprints of the texts of a run, recorded in checkpoints and compared when it continues."""

import hashlib
import os
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from nmt.data.corpus import Corpus
from nmt.data.corpus_weights import WeightedPairs
from nmt.data.token_corpus import TokenCorpus
from nmt.errors import UserError
from nmt.storage.atomic import JsonObject, file_errors
from nmt.storage.run_inputs import START_OVER


def record_texts(
    train_corpus: Corpus,
    train: TokenCorpus,
    valid_corpus: Corpus,
    valid: TokenCorpus,
    weighted: WeightedPairs | None = None,
    alignments: Iterable[Path] = (),
) -> JsonObject:
    """Return the record of the training and the validation text for a checkpoint.

    Args:
        train_corpus, train: the training text, and the same encoded
        valid_corpus, valid: the validation text, and the same encoded
        weighted: the weights of the training corpora; None if an epoch reads every pair once
        alignments: files of word alignments of the training text
    """
    training = _record(train_corpus, train)
    if weighted is not None:
        sizes = np.diff(weighted.bounds).tolist()
        training["weights"] = [list(one) for one in zip(sizes, weighted.weights, strict=True)]
    records = {"training": training, "validation": _record(valid_corpus, valid)}
    if train.links is not None:
        checksum, files = train.links.text_fingerprint, _sizes(alignments)
        records["alignment"] = {"sha256": checksum, "pairs": train.stats.read, "files": files}
    return records


def _record(corpus: Corpus, tokens: TokenCorpus) -> JsonObject:
    sizes, checksum = _sizes(corpus.files), _fingerprint(corpus, tokens)
    return {"sha256": checksum, "pairs": tokens.stats.read, "files": sizes}


def _sizes(files: Iterable[Path]) -> list[list[object]]:
    """Return the name and the size of each file."""
    sizes: list[list[object]] = []
    for file in files:
        with file_errors(file, "cannot be read"):
            sizes.append([file.name, file.stat().st_size])
    return sizes


def _fingerprint(corpus: Corpus, tokens: TokenCorpus) -> str:
    """Return a checksum of all pairs, and of the content of source images."""
    if tokens.images is None:
        return tokens.text_fingerprint
    # The fingerprint of the text contains the directory of the images, which may move.
    directory, digest = corpus.files[0].parent, hashlib.sha256()
    for name, target in corpus.pairs():
        source = os.path.relpath(name, directory) if name else ""
        digest.update(f"{source}\n{target}\n".encode())
    digest.update(zlib.crc32(np.ascontiguousarray(tokens.images).data).to_bytes(4, "big"))
    return digest.hexdigest()


def check_texts(recorded: JsonObject, found: JsonObject, step: int) -> None:
    """Compare the texts of this start with those that a checkpoint recorded.

    Args:
        recorded: the record of `record_texts`; empty in checkpoints of earlier versions
        found: the same of this start
        step: update of the checkpoint, for the message

    Raises:
        UserError: a text has changed
    """
    for name, before in recorded.items():
        now = found[name]
        if before["sha256"] != now["sha256"]:
            raise UserError(
                f"the {name} text has changed since update {step} ({_changes(before, now)}); "
                f"restore it, {START_OVER}"
            )
        if before.get("weights") != now.get("weights"):
            raise UserError(
                f"weights of corpora in the {name} text have changed since update {step} (pairs "
                f"and weights {before.get('weights', 1)}, now {now.get('weights', 1)}); "
                f"undo the change, {START_OVER}"
            )


def _changes(before: JsonObject, now: JsonObject) -> str:
    """Return the numbers of pairs, and the files whose name or size differs."""
    changes = [f"{before['pairs']} pairs, now {now['pairs']}"]
    for position in range(max(len(before["files"]), len(now["files"]))):
        old, new = (files[position : position + 1] for files in (before["files"], now["files"]))
        if [list(file) for file in old] != [list(file) for file in new]:
            changes.append(f"{_shown(old)}, now {_shown(new)}")
    if len(changes) == 1:
        changes.append("files of the same size: " + ", ".join(name for name, _ in now["files"]))
    return "; ".join(changes)


def _shown(files: list[list[object]]) -> str:
    return "no file" if not files else f"{files[0][0]} of {files[0][1]} bytes"
