"""A call's words as one small blob: request, response and variables, compressed together.

Codec 1: Zstandard (RFC 8878) of a MessagePack array of three binaries, with the raw-content dictionary in
payload-1.dict, which holds what most bodies of the OpenAI dialect have in common. It is text of ours: a
dictionary trained on the calls themselves would keep fragments of what is later erased. A changed dictionary
is a new codec; an old one is kept for as long as a file may name it.
"""

from functools import cache
from pathlib import Path

import msgspec
import zstandard

from trimtab.types import StorageError

CODEC = 1
_LEVEL = 1
"""Higher levels gain 1 % on bodies of a kilobyte."""

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

    def pack(self, parts: Parts) -> bytes:
        """Return the blob of a payload; about 8 µs a kilobyte."""
        return self._compressor.compress(self._encoder.encode(parts))

    def unpack(self, codec: int, blob: bytes) -> Parts:
        """Return the parts that `pack` was given.

        Raises:
            StorageError: the blob is damaged, or of a codec this version does not know.
        """
        if codec != CODEC:
            raise StorageError(
                f"payload of codec {codec}; this Trimtab reads {CODEC}: upgrade it to read this call"
            )
        try:
            parts: Parts = self._decoder.decode(self._decompressor.decompress(blob))
        except (zstandard.ZstdError, msgspec.DecodeError) as error:
            raise StorageError(
                f"the payload is damaged: {error}; restore its day file from a backup"
            ) from error
        return parts


@cache
def _dictionary() -> bytes:
    return Path(__file__).with_name("payload-1.dict").read_bytes()
