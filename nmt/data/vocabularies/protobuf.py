"""Fields of protobuf messages, of which serialized SentencePiece models consist.

A message is a sequence of fields: a varint with the number and the wire type of the field, and its
value (https://protobuf.dev/programming-guides/encoding/). The numbers of the fields of a model are
those of sentencepiece_model.proto, in src/ of https://github.com/google/sentencepiece. Messages are
merged by concatenation: lists have the elements of both, and other fields the later value.
"""

import struct
from collections.abc import Iterator

# Wire types, and the number of bytes of a value of fixed size.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
# Fields of ModelProto, TrainerSpec, NormalizerSpec and SentencePiece.
PIECES, TRAINER_SPEC, NORMALIZER_SPEC, DENORMALIZER_SPEC = 1, 2, 3, 5
MODEL_TYPE = 3
# Values of the latter; a model without one is a unigram model.
UNIGRAM, BPE = 1, 2
RULE_NAME, CHARSMAP, DUMMY_PREFIX, REMOVE_SPACES, ESCAPE_SPACES = 1, 2, 3, 4, 5
PIECE, SCORE, KIND = 1, 2, 3
# Kinds of tokens; a token without one is normal.
NORMAL, USER_DEFINED = 1, 4


def read_fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field; the value of other types than varint as bytes.

    Raises:
        ValueError: for a wire type that SentencePiece does not use
    """
    position = 0

    def read_varint() -> int:
        nonlocal position
        number = shift = 0
        while True:
            byte = message[position]
            position += 1
            number |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number

    while position < len(message):
        field, wire_type = divmod(read_varint(), 8)
        if wire_type == VARINT:
            yield field, read_varint()
            continue
        if wire_type != BYTES and wire_type not in FIXED_SIZES:
            raise ValueError(f"a field of an unknown type {wire_type}")
        size = read_varint() if wire_type == BYTES else FIXED_SIZES[wire_type]
        yield field, message[position : position + size]
        position += size


def write_field(number: int, value: int | float | bytes) -> bytes:
    """Return a field: an integer as a varint, a float in 32 bits, or bytes."""
    if isinstance(value, bytes):
        return _key(number, BYTES) + _varint(len(value)) + value
    if isinstance(value, float):
        return _key(number, FIXED32) + struct.pack("<f", value)
    return _key(number, VARINT) + _varint(value)


def _key(number: int, wire_type: int) -> bytes:
    return _varint(number << 3 | wire_type)


def _varint(number: int) -> bytes:
    low, rest = number & 0x7F, number >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])
