"""A keyframe's looks in one vector, without anything trained: a bag of words that are read off the descriptors' bits.

A word is the pattern of seven bits of a binary descriptor (a bit-sampling hash, Indyk & Motwani 1998). Eight such
hashes, each into a histogram of its own, make descriptors that differ in few bits share most words. Square roots keep
a repeated pattern (tiles, a keyboard) from drowning the rest.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_HASHES, _BITS = 8, 7
DIMENSIONS = _HASHES << _BITS
"""Length of an embedding. Two of them compare by their dot product, 1 = alike."""

_SAMPLED = np.stack([np.random.default_rng(k).permutation(256)[:_BITS] for k in range(_HASHES)])
"""Fixed for good: embeddings of different servers and years meet in one index."""


def embed(descriptors: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Unit vector (DIMENSIONS,) of binary descriptors (n, 32); zeros where there are none."""
    bits = np.unpackbits(descriptors, axis=1)
    powers = 1 << np.arange(_BITS)
    words = [bits[:, sampled] @ powers for sampled in _SAMPLED]
    counts = np.concatenate([np.bincount(word, minlength=1 << _BITS) for word in words])
    bag = np.sqrt(counts)
    bag -= bag.mean()
    return np.asarray(bag / max(float(np.linalg.norm(bag)), 1e-9), np.float32)
