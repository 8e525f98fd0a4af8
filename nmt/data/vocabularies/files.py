"""Opening of vocabulary files of any kind."""

import hashlib
import json
from pathlib import Path

from nmt.config.schema import VocabularyConfig
from nmt.data.vocabularies.hugging_face import HuggingFaceVocabulary
from nmt.data.vocabularies.sentencepiece import SentencePieceVocabulary
from nmt.data.vocabularies.subword_nmt import HEADER, Codes, SubwordNmtVocabulary
from nmt.data.vocabularies.token_lists import TokenListError, parse_token_list
from nmt.data.vocabularies.words import WordVocabulary
from nmt.data.vocabulary import Vocabularies, Vocabulary
from nmt.errors import UserError
from nmt.files import MAX_VOCABULARY_BYTES, read_regular

KINDS: tuple[type[WordVocabulary | HuggingFaceVocabulary], ...] = (
    WordVocabulary,
    SubwordNmtVocabulary,
    HuggingFaceVocabulary,
)
MODEL_SUFFIXES = (".model", ".spm")
MAPPING_SUFFIXES = (".yml", ".yaml", ".json")


def load_given_vocabularies(config: VocabularyConfig) -> Vocabularies:
    """Load the vocabularies of both sides; the same object twice if they share the files.

    Raises:
        UserError: see `load_vocabulary`
    """
    models, codes = _paired(config.model), _paired(config.codes)
    (source, source_codes), (target, target_codes) = zip(models, codes, strict=True)
    assert source is not None and target is not None
    loaded = load_vocabulary(target, target_codes)
    if (source, source_codes) == (target, target_codes):
        return loaded, loaded
    return load_vocabulary(source, source_codes), loaded


def _paired(files: Path | list[Path] | None) -> tuple[Path | None, Path | None]:
    if isinstance(files, list):
        return files[0], files[-1]
    return files, files


def load_vocabulary(path: Path, codes: Path | None = None) -> Vocabulary:
    """Load a vocabulary: a SentencePiece model, a `tokenizer.json`, or a list of tokens.

    Args:
        path: the file; its content decides the kind
        codes: merge operations of subword-nmt, for a list of tokens

    Raises:
        UserError: if a file cannot be read, or is not a vocabulary
    """
    content = read_regular(path, max_bytes=MAX_VOCABULARY_BYTES)
    text = _decode(content)
    if text is None or path.suffix in MODEL_SUFFIXES:
        _refuse_codes(path, codes)
        return SentencePieceVocabulary.load(path)
    values = _read_object(text) if path.suffix == ".json" else {}
    # A mapping of tokens to ids may contain these words as tokens.
    if isinstance(values.get("model"), dict):
        _refuse_codes(path, codes)
        return _make_hugging_face(path, text)
    if isinstance(values.get("type"), str):
        _refuse_codes(path, codes)
        return load_own(path)
    if text.startswith(HEADER):
        raise UserError(
            "contains merge operations of BPE; give it as data.vocabulary.codes", str(path)
        )
    try:
        tokens = parse_token_list(text, is_mapping=path.suffix in MAPPING_SUFFIXES)
    except TokenListError as error:
        raise UserError(str(error), f"{path}:{error.line}" if error.line else str(path)) from error
    origin = [hashlib.sha256(content).hexdigest()]
    if codes is None:
        return WordVocabulary.make(tokens, files=origin)
    merges = read_codes(codes)
    origin.append(hashlib.sha256(merges.encode()).hexdigest())
    return SubwordNmtVocabulary.make(tokens, codes=merges, symbols=[], files=origin)


def load_own(path: Path, content: bytes | None = None) -> Vocabulary:
    """Load a vocabulary that `Vocabulary.save` wrote.

    Args:
        path: the file
        content: its content, if it is known already

    Raises:
        UserError: if it is not one
    """
    if path.suffix == SentencePieceVocabulary.suffix:
        return SentencePieceVocabulary.load(path, content)
    if content is None:
        content = read_regular(path, max_bytes=MAX_VOCABULARY_BYTES)
    try:
        values = json.loads(content)
        kind = next(kind for kind in KINDS if kind.kind == values["type"])
        return kind(content)
    except UserError as error:
        raise UserError(error.message, str(path)) from error
    except (ValueError, KeyError, TypeError, StopIteration, RecursionError) as error:
        raise UserError("is not a vocabulary, or is damaged; copy it again", str(path)) from error


def read_codes(path: Path) -> str:
    """Return the content of a file of merge operations, which is valid.

    Raises:
        UserError: if it cannot be read, or is not such a file
    """
    text = _decode(read_regular(path, max_bytes=MAX_VOCABULARY_BYTES))
    if text is None:
        raise UserError("is not UTF-8; give the codes that subword-nmt has written", str(path))
    try:
        Codes(text)
    except ValueError as error:
        line, _, reason = str(error).partition(": ")
        message = f"{reason}; give the codes that subword-nmt or fastBPE has written"
        raise UserError(message, f"{path}:{line}") from error
    return text


def _make_hugging_face(path: Path, text: str) -> Vocabulary:
    origin = [hashlib.sha256(text.encode()).hexdigest()]
    try:
        return HuggingFaceVocabulary.make(text, files=origin)
    except UserError as error:
        raise UserError(error.message, str(path)) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{error}; give a tokenizer.json of Hugging Face", str(path)) from error


def _refuse_codes(path: Path, codes: Path | None) -> None:
    if codes is not None:
        message = "has its own segmentation, with which data.vocabulary.codes has no effect"
        raise UserError(f"{message}; give a list of tokens, or remove the codes", str(path))


def _decode(content: bytes) -> str | None:
    """Return the text of a file, or None if it is not UTF-8 text."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return None if "\0" in text else text


def _read_object(text: str) -> dict[str, object]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}
