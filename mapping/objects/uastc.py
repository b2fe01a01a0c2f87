"""A picture as UASTC blocks, which any GPU's own texture format is made of in a moment: 16 bytes for each 4 x 4 pixels.

After the public UASTC LDR 4x4 specification (Binomial). Opaque pictures only, by four of its nineteen modes: 8 (one
colour), and one line between two colours with 16, 32 or 8 steps (modes 0, 18 and 5), whichever is nearest. The line is
the block's principal axis, refined by least squares. Hints let a reader make ETC1 without a search of its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.kernels import kernel
from mapping.objects.mesh import U8

BLOCK_PX, BLOCK_BYTES = 4, 16
_REFINEMENTS = 3


def _trit_levels() -> NDArray[np.float32]:
    """(192,) what an endpoint of six bits and a trit stands for (ASTC's unquantisation)."""
    value = np.arange(192)
    bits, trit = value & 63, value >> 6
    a = np.where(bits & 1, 511, 0)
    b = (bits >> 1 << 4) | (bits >> 5)
    t = (trit * 5 + b) ^ a
    return ((a & 0x80) | (t >> 2)).astype(np.float32)


def _nearest(levels: NDArray[np.float32]) -> NDArray[np.int64]:
    """(256,) the number of the level that is nearest to each byte."""
    return np.asarray(np.abs(np.arange(256)[:, None] - levels[None]).argmin(axis=1))


# One row a mode: its number, its code and the code's bits, bits of an endpoint and of a weight.
_MODES = np.array([[0, 0x1, 4, 6, 4], [18, 0x9, 4, 5, 5], [5, 0xB, 5, 8, 3]], np.int64)
_FIVE_BITS = (np.arange(32) << 3 | np.arange(32) >> 2).astype(np.float32)
_LEVELS = np.zeros((3, 256), np.float32)
_LEVELS[0, :192], _LEVELS[1, :32], _LEVELS[2] = _trit_levels(), _FIVE_BITS, np.arange(256)
_LEVEL_OF = np.stack([_nearest(levels) for levels in (_trit_levels(), _FIVE_BITS, _LEVELS[2])])
_ETC1_STEPS = np.array(
    [[2, 8], [5, 17], [9, 29], [13, 42], [18, 60], [24, 80], [33, 106], [47, 183]], np.float32
)  # fmt: skip
_NO_BIAS = 13
"""Of the 27 ways to shift the colours of an ETC1 block."""
_LUMA = np.array([0.2126, 0.7152, 0.0722], np.float32)


def encode(rgb: U8) -> bytes:
    """The blocks of a picture (h, w, 3), row by row; where it ends within a block its edge is repeated."""
    height, width = rgb.shape[:2]
    whole = np.pad(rgb, ((0, -height % BLOCK_PX), (0, -width % BLOCK_PX), (0, 0)), mode="edge")
    rows, columns = whole.shape[0] // BLOCK_PX, whole.shape[1] // BLOCK_PX
    blocks = whole.reshape(rows, BLOCK_PX, columns, BLOCK_PX, 3).swapaxes(1, 2).reshape(-1, 16, 3)
    packed = np.zeros((len(blocks), 2), np.uint64)
    _encode(np.ascontiguousarray(blocks, np.float32), packed)
    return packed.astype("<u8").tobytes()


@kernel
def _encode(blocks: NDArray[np.float32], packed: NDArray[np.uint64]) -> None:
    for number in range(len(blocks)):
        if _is_flat(blocks[number]):
            _solid(blocks[number], packed[number])
        else:
            _line(blocks[number], packed[number])


@kernel
def _is_flat(texels: NDArray[np.float32]) -> bool:
    for i in range(1, 16):
        for c in range(3):
            if texels[i, c] != texels[0, c]:
                return False
    return True


@kernel
def _line(texels: NDArray[np.float32], words: NDArray[np.uint64]) -> None:
    """The mode, end colours and weights that come nearest."""
    spread = np.zeros((2, 3), np.float32)
    _principal_ends(texels, spread)
    best = np.float32(np.inf)
    mode = 0
    ends, tried_ends = np.zeros((2, 3), np.int64), np.zeros((2, 3), np.int64)
    weights, tried = np.zeros(16, np.int64), np.zeros(16, np.int64)
    wanted = np.zeros((2, 3), np.float32)
    for row in range(len(_MODES)):
        wanted[:] = spread
        for _ in range(_REFINEMENTS):
            for end in range(2):
                for c in range(3):
                    tried_ends[end, c] = _LEVEL_OF[row, int(min(max(wanted[end, c], 0.0), 255.0) + 0.5)]
            error = _weigh(texels, _LEVELS[row], tried_ends, _MODES[row, 4], tried)
            if error < best:
                best, mode = error, row
                ends[:] = tried_ends
                weights[:] = tried
            if not _least_squares(texels, tried, _MODES[row, 4], wanted):
                break
    _pack(texels, mode, ends, weights, words)


@kernel
def _principal_ends(texels: NDArray[np.float32], ends: NDArray[np.float32]) -> None:
    """The ends of the texels' spread along their principal axis (power iteration)."""
    mean, axis, turned = np.zeros(3, np.float32), np.zeros(3, np.float32), np.zeros(3, np.float32)
    covariance = np.zeros((3, 3), np.float32)
    for c in range(3):
        for i in range(16):
            mean[c] += texels[i, c] / 16
    widest = 0
    for r in range(3):
        for c in range(3):
            for i in range(16):
                covariance[r, c] += (texels[i, r] - mean[r]) * (texels[i, c] - mean[c])
        if covariance[r, r] > covariance[widest, widest]:
            widest = r
    for c in range(3):
        axis[c] = covariance[widest, c]
    for _ in range(6):
        length = np.float32(0.0)
        for r in range(3):
            turned[r] = covariance[r, 0] * axis[0] + covariance[r, 1] * axis[1] + covariance[r, 2] * axis[2]
            length += turned[r] * turned[r]
        for c in range(3):
            axis[c] = turned[c] / np.sqrt(length)
    first = last = np.float32(0.0)
    for i in range(16):
        along = np.float32(0.0)
        for c in range(3):
            along += (texels[i, c] - mean[c]) * axis[c]
        first, last = min(first, along), max(last, along)
    for c in range(3):
        ends[0, c], ends[1, c] = mean[c] + first * axis[c], mean[c] + last * axis[c]


@kernel
def _weight(number: int, bits: int) -> int:
    """0..64 of a weight's number: its bits repeated to six."""
    if bits == 4:
        value = number << 2 | number >> 2
    elif bits == 5:
        value = number << 1 | number >> 4
    else:
        value = number << 3 | number
    return value + 1 if value > 32 else value


@kernel
def _weigh(
    texels: NDArray[np.float32],
    levels: NDArray[np.float32],
    ends: NDArray[np.int64],
    bits: int,
    weights: NDArray[np.int64],
) -> np.float32:
    """Choose the nearest step for each texel; the squared error of all."""
    r, g, b = levels[ends[0, 0]], levels[ends[0, 1]], levels[ends[0, 2]]
    dr, dg, db = levels[ends[1, 0]] - r, levels[ends[1, 1]] - g, levels[ends[1, 2]] - b
    square = dr * dr + dg * dg + db * db
    most = (1 << bits) - 1
    error = np.float32(0.0)
    for i in range(16):
        along = (texels[i, 0] - r) * dr + (texels[i, 1] - g) * dg + (texels[i, 2] - b) * db
        along = along / square if square > 0 else np.float32(0.0)
        weights[i] = int(min(max(along, 0.0), 1.0) * most + 0.5)
        share = np.float32(_weight(weights[i], bits) / 64)
        error += (
            (texels[i, 0] - r - share * dr) ** 2
            + (texels[i, 1] - g - share * dg) ** 2
            + (texels[i, 2] - b - share * db) ** 2
        )
    return error


@kernel
def _least_squares(
    texels: NDArray[np.float32],
    weights: NDArray[np.int64],
    bits: int,
    ends: NDArray[np.float32],
) -> bool:
    """The best ends for given weights, in place; False where the weights are all alike."""
    aa = ab = bb = 0.0
    of_a, of_b = np.zeros(3, np.float32), np.zeros(3, np.float32)
    for i in range(16):
        t = _weight(weights[i], bits) / 64
        aa += (1 - t) * (1 - t)
        ab += t * (1 - t)
        bb += t * t
        for c in range(3):
            of_a[c] += (1 - t) * texels[i, c]
            of_b[c] += t * texels[i, c]
    determinant = aa * bb - ab * ab
    if determinant < 1e-6:
        return False
    for c in range(3):
        ends[0, c] = (bb * of_a[c] - ab * of_b[c]) / determinant
        ends[1, c] = (aa * of_b[c] - ab * of_a[c]) / determinant
    return True


@kernel
def _put(words: NDArray[np.uint64], at: int, value: int, count: int) -> int:
    """Append `count` bits of a value, lowest first; where the next ones go."""
    word, shift = at // 64, at % 64
    words[word] |= np.uint64(value) << np.uint64(shift)
    if shift + count > 64:
        words[word + 1] |= np.uint64(value) >> np.uint64(64 - shift)
    return at + count


@kernel
def _pack(
    texels: NDArray[np.float32],
    mode: int,
    ends: NDArray[np.int64],
    weights: NDArray[np.int64],
    words: NDArray[np.uint64],
) -> None:
    code, code_bits, end_bits, weight_bits = _MODES[mode, 1], _MODES[mode, 2], _MODES[mode, 3], _MODES[mode, 4]
    most = (1 << weight_bits) - 1
    first = 0
    if weights[0] >> (weight_bits - 1):  # the highest bit of the first weight is not stored: it must be 0
        first = 1
    at = _put(words, 0, code, code_bits)
    at = _put(words, at, 0, 2)  # BC1 is made anew from the texels
    at = _etc1_hints(texels, words, at)
    if mode == 0:  # trits first, five in eight bits, then the bits
        accumulated, power = 0, 1
        for i in range(5):
            accumulated += (ends[(i + first) % 2, i // 2] >> 6) * power
            power *= 3
        at = _put(words, at, accumulated, 8)
        at = _put(words, at, ends[1 - first, 2] >> 6, 2)
    mask = (1 << end_bits) - 1
    for c in range(3):
        at = _put(words, at, ends[first, c] & mask, end_bits)
        at = _put(words, at, ends[1 - first, c] & mask, end_bits)
    for i in range(16):
        weight = most - weights[i] if first else weights[i]
        at = _put(words, at, weight, weight_bits - 1 if i == 0 else weight_bits)


@kernel
def _etc1_hints(texels: NDArray[np.float32], words: NDArray[np.uint64], at: int) -> int:
    """How to cut the block for ETC1, and the spread of brightness in each half; where the next bits go."""
    best = np.float32(np.inf)
    best_flip = best_near = best_first = best_second = 0
    luma = np.zeros(16, np.float32)
    for i in range(16):
        luma[i] = _LUMA[0] * texels[i, 0] + _LUMA[1] * texels[i, 1] + _LUMA[2] * texels[i, 2]
    for flip in range(2):
        means = np.zeros((2, 3), np.float32)
        for i in range(16):
            half = (i // 4 if flip else i % 4) // 2
            for c in range(3):
                means[half, c] += texels[i, c] / 8
        near = 1
        for c in range(3):
            step = int(means[1, c] * 31 / 255 + 0.5) - int(means[0, c] * 31 / 255 + 0.5)
            if step < -4 or step > 3:
                near = 0
        tables = np.zeros(2, np.int64)
        total = np.float32(0.0)
        for half in range(2):
            mean = _LUMA[0] * means[half, 0] + _LUMA[1] * means[half, 1] + _LUMA[2] * means[half, 2]
            least = np.float32(np.inf)
            for table in range(8):
                error = np.float32(0.0)
                for i in range(16):
                    if (i // 4 if flip else i % 4) // 2 == half:
                        off = abs(luma[i] - mean)
                        error += min((off - _ETC1_STEPS[table, 0]) ** 2, (off - _ETC1_STEPS[table, 1]) ** 2)
                if error < least:
                    least = error
                    tables[half] = table
            total += least
        if total < best:
            best, best_flip, best_near, best_first, best_second = total, flip, near, tables[0], tables[1]
    at = _put(words, at, best_flip, 1)
    at = _put(words, at, best_near, 1)
    at = _put(words, at, best_first, 3)
    at = _put(words, at, best_second, 3)
    return _put(words, at, _NO_BIAS, 5)


@kernel
def _solid(texels: NDArray[np.float32], words: NDArray[np.uint64]) -> None:
    """One colour, and the ETC1 colour, table and step that come nearest to it."""
    best = np.float32(np.inf)
    best_table = best_step = 0
    best_base = np.zeros(3, np.int64)
    for table in range(8):
        for step in range(4):
            size = _ETC1_STEPS[table, 0 if step in (1, 2) else 1]
            offset = size if step >= 2 else -size
            base = np.zeros(3, np.int64)
            error = np.float32(0.0)
            for c in range(3):
                wanted = min(max(texels[0, c] - offset, 0.0), 255.0)
                base[c] = int(wanted * 31 / 255 + 0.5)
                got = min(max(np.float32(base[c] << 3 | base[c] >> 2) + offset, 0.0), 255.0)
                error += (got - texels[0, c]) ** 2
            if error < best:
                best, best_table, best_step = error, table, step
                best_base[:] = base
    at = _put(words, 0, 0x17, 5)
    for c in range(3):
        at = _put(words, at, int(texels[0, c]), 8)
    at = _put(words, at, 255, 8)
    at = _put(words, at, 1, 1)
    at = _put(words, at, best_table, 3)
    at = _put(words, at, best_step, 2)
    for c in range(3):
        at = _put(words, at, best_base[c], 5)


def warm_up() -> None:
    """Compile the kernels."""
    encode(np.zeros((4, 4, 3), np.uint8))
