"""read_idx: arrays in the format of MNIST's files, compressed or not."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from gap_tune.errors import InvalidValueError

# Two zero bytes, the type (8 is unsigned bytes), the number of dimensions; then those, big-endian.
_BYTES = b"\x00\x00\x08"


def read_idx(path: Path, dimensions: int) -> np.ndarray:
    """Return the bytes that an idx file holds.

    Args:
        path: The file; one whose name ends in ".gz" is decompressed.
        dimensions: How many the array must have.

    Raises:
        InvalidValueError: When the file cannot be read, or is not of the format or cut off.
    """
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    # A damaged file ends early, or fails its check.
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise InvalidValueError(
            f"{path} must be a file that can be read, but got: {error}."
        ) from None
    start = 4 + 4 * dimensions
    if content[:4] != _BYTES + bytes([dimensions]) or len(content) < start:
        raise InvalidValueError(
            f"{path} must be an idx file of bytes in {dimensions} dimensions, "
            f"but got one that begins {content[:4]!r}."
        )
    shape = np.frombuffer(content, ">u4", count=dimensions, offset=4).astype(int)
    if len(content) - start != shape.prod():
        raise InvalidValueError(
            f"{path} must hold {shape.prod()} bytes after its head, "
            f"but got {len(content) - start}: it is cut off or no idx file."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)
