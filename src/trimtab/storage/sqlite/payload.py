"""Payloads as small blobs: request, response and variables of one call, or of a block of calls together.

Codec 1, one call: Zstandard (RFC 8878) of a MessagePack array of three binaries, with the raw-content dictionary in
payload-1.dict, which holds what most bodies of the OpenAI dialect have in common. It is text of ours: a
dictionary trained on the calls themselves would keep fragments of what is later erased. A changed dictionary
is a new codec; an old one is kept for as long as a file may name it.

Codec 2, a block: Zstandard of a MessagePack array of [call's number, request, response, variables], without a
dictionary. Whatever neighbouring calls have in common (words, prompts, a conversation so far) is stored once.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec
import zstandard

from trimtab.types import StorageError

CODEC = 1
BLOCK_CODEC = 2
_LEVEL = 1
"""Higher levels gain 1 % on bodies of a kilobyte."""

_BLOCK_LEVEL = 6
"""Level 3 makes 6 % more in a third of the time; level 12 makes 2 % less in four times of it."""

Parts = tuple[bytes, bytes, bytes]
"""Request, response, variables."""


class PayloadCodec:
    """Packs and unpacks payloads. Not for two threads at once."""

    def __init__(self) -> None:
        words = zstandard.ZstdCompressionDict(_dictionary(), dict_type=zstandard.DICT_TYPE_RAWCONTENT)
        words.precompute_compress(level=_LEVEL)
        self._compressor = zstandard.ZstdCompressor(level=_LEVEL, dict_data=words)
        self._decompressor = zstandard.ZstdDecompressor(dict_data=words)
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder = msgspec.msgpack.Decoder(Parts)
        self._block_compressor = zstandard.ZstdCompressor(level=_BLOCK_LEVEL)
        self._block_decompressor = zstandard.ZstdDecompressor()
        self._block_decoder = msgspec.msgpack.Decoder(list[tuple[int, bytes, bytes, bytes]])

    def pack(self, parts: Parts) -> bytes:
        """Return the blob of a payload; about 8 µs a kilobyte."""
        return self._compressor.compress(self._encoder.encode(parts))

    def unpack(self, codec: int, blob: bytes) -> Parts:
        """Return the parts that `pack` was given.

        Raises:
            StorageError: the blob is damaged, or of a codec this version does not know.
        """
        _check(codec, CODEC)
        try:
            parts: Parts = self._decoder.decode(self._decompressor.decompress(blob))
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise _damaged(error) from error
        return parts

    def pack_block(self, members: Mapping[int, Parts]) -> bytes:
        """Return the blob of some calls' payloads, by the calls' numbers; about 11 µs a kilobyte."""
        return self._block_compressor.compress(
            self._encoder.encode([(doc, *parts) for doc, parts in members.items()])
        )

    def unpack_block(self, codec: int, blob: bytes) -> dict[int, Parts]:
        """Return what `pack_block` was given; about 60 µs for 32 calls of 2 KB.

        Raises:
            StorageError: the blob is damaged, or of a codec this version does not know.
        """
        _check(codec, BLOCK_CODEC)
        try:
            found = self._block_decoder.decode(self._block_decompressor.decompress(blob))
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise _damaged(error) from error
        return {doc: (request, response, variables) for doc, request, response, variables in found}


def _check(codec: int, known: int) -> None:
    if codec != known:
        raise StorageError(
            f"payload of codec {codec}; this Trimtab reads {known}: upgrade it to read this call"
        )


def _damaged(error: Exception) -> StorageError:
    return StorageError(f"the payload is damaged: {error}; restore its day file from a backup")


@cache
def _dictionary() -> bytes:
    return Path(__file__).with_name("payload-1.dict").read_bytes()
