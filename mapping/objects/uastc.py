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


# One row a mode (0, 18, 5): its code, bits of an endpoint and of a weight.
_MODES = np.array([[0x1, 6, 4], [0x9, 5, 5], [0xB, 8, 3]], np.int64)
_SOLID_CODE = 0x17
_HINTS = (1, 1, 1, 1, 3, 3, 5)  # two for BC1; for ETC1 flip, differential, two tables, bias
_LAYOUTS = (
    (4, *_HINTS, 8, 2, *6 * (6,), 3, *15 * (4,)),
    (4, *_HINTS, *6 * (5,), 4, *15 * (5,)),
    (5, *_HINTS, *6 * (8,), 2, *15 * (3,)),
    (5, 8, 8, 8, 8, 1, 3, 2, 5, 5, 5),
)
"""Bits of each field, in order: code, hints, (trits,) endpoints, weights; the last one is of the solid mode."""
_FIELDS = 32
_WIDTHS = np.array([[*widths, *(_FIELDS - len(widths)) * (0,)] for widths in _LAYOUTS], np.int64)
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
            error = _weigh(texels, _LEVELS[row], tried_ends, _MODES[row, 2], tried)
            if error < best:
                best, mode = error, row
                ends[:] = tried_ends
                weights[:] = tried
            if not _least_squares(texels, tried, _MODES[row, 2], wanted):
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
def _write(fields: NDArray[np.int64], widths: NDArray[np.int64], words: NDArray[np.uint64]) -> None:
    """The fields one after the other, each with its lowest bit first."""
    at = 0
    for i in range(len(fields)):
        value = np.uint64(fields[i])
        words[at >> 6] |= value << np.uint64(at & 63)
        if (at & 63) + widths[i] > 64:
            words[(at >> 6) + 1] |= value >> np.uint64(64 - (at & 63))
        at += widths[i]
        if at >= 128:
            break


@kernel
def _pack(
    texels: NDArray[np.float32],
    mode: int,
    ends: NDArray[np.int64],
    weights: NDArray[np.int64],
    words: NDArray[np.uint64],
) -> None:
    end_bits, weight_bits = _MODES[mode, 1], _MODES[mode, 2]
    most = (1 << weight_bits) - 1
    # The highest bit of the first weight is not stored: it must be 0, if need be with the ends the other way round.
    first = weights[0] >> (weight_bits - 1)
    fields = np.zeros(_FIELDS, np.int64)
    fields[0] = _MODES[mode, 0]
    _etc1_hints(texels, fields)
    at = 8
    if mode == 0:  # trits first, five in eight bits
        power = 1
        for i in range(5):
            fields[8] += (ends[(i + first) % 2, i // 2] >> 6) * power
            power *= 3
        fields[9] = ends[1 - first, 2] >> 6
        at = 10
    for i in range(6):
        fields[at + i] = ends[(i + first) % 2, i // 2] & ((1 << end_bits) - 1)
    for i in range(16):
        fields[at + 6 + i] = most - weights[i] if first else weights[i]
    _write(fields, _WIDTHS[mode], words)


@kernel
def _etc1_hints(texels: NDArray[np.float32], fields: NDArray[np.int64]) -> None:
    """How to cut the block for ETC1, and the spread of brightness in each half."""
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
    fields[3], fields[4], fields[5], fields[6], fields[7] = best_flip, best_near, best_first, best_second, _NO_BIAS


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
    fields = np.zeros(_FIELDS, np.int64)
    fields[0], fields[4], fields[5], fields[6], fields[7] = _SOLID_CODE, 255, 1, best_table, best_step
    for c in range(3):
        fields[1 + c], fields[8 + c] = np.int64(texels[0, c]), best_base[c]
    _write(fields, _WIDTHS[3], words)


def warm_up() -> None:
    """Compile the kernels."""
    encode(np.zeros((4, 4, 3), np.uint8))
