"""Codecs that take no more memory than the chunk that they decode can be.

A compressed chunk says itself how long it is when it is unpacked, and a chunk of texts how many it holds. Zarr
believes both: a few bytes would ask for all memory, also where every checksum is right. Arrays that are opened
within `bounded` are decoded by the class below, which compares first.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import numpy as np
import zarr
from zarr.codecs import ZstdCodec
from zarr.registry import register_codec

# Bytes of a text, and of all texts of a chunk, at most: GPAW's basis files are texts of some 100 kB.
_LONGEST_TEXT, _MOST_TEXT = 2**24, 2**28
# RFC 8878, 3.1.1: what a frame begins with, and how many bytes its descriptor's flags give the content's length.
_ZSTD_MAGIC, _ZSTD_LENGTHS = b"\x28\xb5\x2f\xfd", (0, 2, 4, 8)
# All that stores are written with; others could unpack to any size.
CODECS = ("bytes", "vlen-utf8", "zstd", "crc32c", "sharding_indexed")


class BoundedZstd(ZstdCodec):
    """Zstandard, for chunks that say no more than they can hold, and what they hold no more either."""

    def _decode_sync(self, chunk_bytes, chunk_spec):
        n = math.prod(chunk_spec.shape)
        dtype = np.dtype(chunk_spec.dtype.to_native_dtype())
        texts = dtype.kind in "TO"
        most = min(4 + n * (4 + _LONGEST_TEXT), _MOST_TEXT) if texts else n * dtype.itemsize
        found = _zstd_length(chunk_bytes.as_numpy_array()[:18].tobytes())
        if found is None or found > most:
            raise ValueError(f"a chunk claims to hold {found} bytes, expected at most {most}")
        content = super()._decode_sync(chunk_bytes, chunk_spec)
        if texts:
            count = int.from_bytes(content.as_numpy_array()[:4].tobytes(), "little")
            if count != n:
                raise ValueError(f"a chunk claims to hold {count} texts, expected {n}")
        return content


register_codec("zstd", BoundedZstd)


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    """Let arrays that are opened in this block be decoded by the class of this module."""
    name = f"{BoundedZstd.__module__}.{BoundedZstd.__qualname__}"
    with zarr.config.set({"codecs.zstd": name}):
        yield


def _zstd_length(head: bytes) -> int | None:
    """Length of what a Zstandard frame unpacks to, as its header has it; None if it does not tell."""
    if head[:4] != _ZSTD_MAGIC or len(head) < 5:
        return None
    descriptor = head[4]
    single = bool(descriptor & 0x20)
    size = _ZSTD_LENGTHS[descriptor >> 6] or (1 if single else 0)
    start = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3]
    if not size or len(head) < start + size:
        return None
    # A length of two bytes begins at 256.
    return int.from_bytes(head[start : start + size], "little") + (256 if size == 2 else 0)
