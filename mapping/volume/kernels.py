"""The inner loops of the volume: hash table, block making, voxel update, window copy, resampling.

The table is open addressing with linear probing over packed keys; EMPTY marks a free place. Nothing is ever deleted
from it, so a probe may stop at the first free place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mapping.changes import BLOCK_VOXELS
from mapping.kernels import kernel

EMPTY = -1
_HALF = 1 << 20
"""Keys are kept within +- 2^20 blocks (400 km): three of them pack into 63 bits."""
_GOLDEN = -7046029254386353131
"""2^64 / golden ratio as int64: the product's upper bits depend on every bit of the key (Knuth's Fibonacci hashing)."""
_NEAR_M = 0.05
_NO_WEIGHT = 1e-3
_APPEARED_M = 1e3
"""How far a voxel counts as moved that became known or unknown."""
_LEAST_KNOWN = 0.5
"""A resampled voxel is known when so much of what it is interpolated from is."""


@kernel
def _pack(i: int, j: int, k: int) -> int:
    return ((i + _HALF) << 42) | ((j + _HALF) << 21) | (k + _HALF)


@kernel
def _place(table: NDArray[np.int64], packed: int) -> int:
    """Where a packed key stands, or the free place where it would go."""
    mask = len(table) - 1
    at = ((packed * _GOLDEN) >> 32) & mask
    while table[at] != EMPTY and table[at] != packed:
        at = (at + 1) & mask
    return at


@kernel
def make_table(keys: NDArray[np.int32], min_size: int) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """A table that holds `keys` (n, 3) as slots 0..n-1, with a power-of-two size of at least `min_size`."""
    size = 1024
    while size < min_size:
        size *= 2
    table = np.full(size, EMPTY, np.int64)
    slots = np.zeros(size, np.int32)
    for slot in range(len(keys)):
        packed = _pack(keys[slot, 0], keys[slot, 1], keys[slot, 2])
        at = _place(table, packed)
        table[at] = packed
        slots[at] = slot
    return table, slots


@kernel
def find_slots(table: NDArray[np.int64], slots: NDArray[np.int32], keys: NDArray[np.int32]) -> NDArray[np.int64]:
    """Slot of every key (n, 3); -1 where there is no block."""
    out = np.full(len(keys), -1, np.int64)
    for n in range(len(keys)):
        packed = _pack(keys[n, 0], keys[n, 1], keys[n, 2])
        at = _place(table, packed)
        if table[at] == packed:
            out[n] = slots[at]
    return out


@kernel
def insert_all(
    table: NDArray[np.int64],
    slots: NDArray[np.int32],
    pool_keys: NDArray[np.int32],
    count: int,
    keys: NDArray[np.int32],
) -> tuple[int, NDArray[np.int64]]:
    """Give every key (n, 3) a slot, new or old; returns the new count and the slots. Room must have been reserved."""
    out = np.empty(len(keys), np.int64)
    for n in range(len(keys)):
        packed = _pack(keys[n, 0], keys[n, 1], keys[n, 2])
        at = _place(table, packed)
        if table[at] == EMPTY:
            table[at] = packed
            slots[at] = count
            for c in range(3):
                pool_keys[count, c] = keys[n, c]
            count += 1
        out[n] = slots[at]
    return count, out


@kernel
def make_blocks(
    table: NDArray[np.int64],
    slots: NDArray[np.int32],
    pool_keys: NDArray[np.int32],
    count: int,
    limit: int,
    first_row: int,
    z_m: NDArray[np.float32],
    weight: NDArray[np.float32],
    pinhole: NDArray[np.float64],
    world_from_camera: NDArray[np.float64],
    truncation_m: float,
    block_m: float,
) -> tuple[int, int]:
    """Make the blocks along each pixel's truncation band; returns the row to go on from (h = done) and the count."""
    h, w = z_m.shape
    pose = world_from_camera
    steps = int(np.ceil(2.0 * truncation_m / (0.5 * block_m)))
    last = EMPTY
    for v in range(first_row, h):
        if count + (steps + 1) * w > limit and first_row < v:
            return v, count
        for u in range(w):
            if not weight[v, u] > 0.0:
                continue
            x, y = (u + 0.5 - pinhole[2]) / pinhole[0], (v + 0.5 - pinhole[3]) / pinhole[1]
            per_z = np.sqrt(1.0 + x * x + y * y)
            for step in range(steps + 1):
                z = z_m[v, u] + (2.0 * step / steps - 1.0) * truncation_m / per_z
                i = int(np.floor((pose[0, 3] + z * (pose[0, 0] * x + pose[0, 1] * y + pose[0, 2])) / block_m))
                j = int(np.floor((pose[1, 3] + z * (pose[1, 0] * x + pose[1, 1] * y + pose[1, 2])) / block_m))
                k = int(np.floor((pose[2, 3] + z * (pose[2, 0] * x + pose[2, 1] * y + pose[2, 2])) / block_m))
                if abs(i) >= _HALF or abs(j) >= _HALF or abs(k) >= _HALF:
                    continue
                packed = _pack(i, j, k)
                if packed == last:
                    continue
                last = packed
                at = _place(table, packed)
                if table[at] == EMPTY:
                    if count >= limit:
                        return v, count
                    table[at] = packed
                    slots[at] = count
                    pool_keys[count, 0], pool_keys[count, 1], pool_keys[count, 2] = i, j, k
                    count += 1
    return h, count


@kernel
def _outside(beyond: float, slope: float, radius: float) -> bool:
    """Whether a sphere lies wholly beyond one side of the image, a plane of that slope through the camera."""
    return bool(beyond > radius * np.sqrt(1.0 + slope * slope))


@kernel
def update_blocks(
    pool_keys: NDArray[np.int32],
    pool_tsdf_m: NDArray[np.float32],
    pool_weight: NDArray[np.float32],
    pool_rgb: NDArray[np.uint8],
    moved_m: NDArray[np.float32],
    z_m: NDArray[np.float32],
    slant: NDArray[np.float32],
    weight: NDArray[np.float32],
    rgb: NDArray[np.uint8],
    pinhole: NDArray[np.float64],
    world_from_camera: NDArray[np.float64],
    voxel_m: float,
    truncation_m: float,
    max_depth_m: float,
    free_weight: float,
    max_weight: float,
    known_weight: float,
    sign: float,
) -> None:
    """Add (sign 1) or take back (sign -1) one view in every voxel of every block that it sees."""
    h, w = z_m.shape
    fx, fy, cx, cy = pinhole[0], pinhole[1], pinhole[2], pinhole[3]
    r = world_from_camera
    block_m = voxel_m * BLOCK_VOXELS
    radius_m = 0.5 * np.sqrt(3.0) * block_m
    left, right, top, bottom = -cx / fx, (w - cx) / fx, -cy / fy, (h - cy) / fy
    for slot in range(len(pool_keys)):
        px = (pool_keys[slot, 0] + 0.5) * block_m - r[0, 3]
        py = (pool_keys[slot, 1] + 0.5) * block_m - r[1, 3]
        pz = (pool_keys[slot, 2] + 0.5) * block_m - r[2, 3]
        x = r[0, 0] * px + r[1, 0] * py + r[2, 0] * pz
        y = r[0, 1] * px + r[1, 1] * py + r[2, 1] * pz
        z = r[0, 2] * px + r[1, 2] * py + r[2, 2] * pz
        if z < -radius_m or z > max_depth_m + truncation_m + radius_m:
            continue
        if _outside(left * z - x, left, radius_m) or _outside(x - right * z, right, radius_m):
            continue
        if _outside(top * z - y, top, radius_m) or _outside(y - bottom * z, bottom, radius_m):
            continue
        moved = 0.0
        half = 0.5 * (BLOCK_VOXELS - 1)
        for a in range(BLOCK_VOXELS):
            for b in range(BLOCK_VOXELS):
                ox, oy = (a - half) * voxel_m, (b - half) * voxel_m
                x0 = x + r[0, 0] * ox + r[1, 0] * oy - r[2, 0] * half * voxel_m
                y0 = y + r[0, 1] * ox + r[1, 1] * oy - r[2, 1] * half * voxel_m
                z0 = z + r[0, 2] * ox + r[1, 2] * oy - r[2, 2] * half * voxel_m
                for c in range(BLOCK_VOXELS):
                    vz = z0 + r[2, 2] * c * voxel_m
                    if vz < _NEAR_M:
                        continue
                    u = int(np.floor(fx * (x0 + r[2, 0] * c * voxel_m) / vz + cx))
                    v = int(np.floor(fy * (y0 + r[2, 1] * c * voxel_m) / vz + cy))
                    if u < 0 or v < 0 or u >= w or v >= h or not weight[v, u] > 0.0:
                        continue
                    distance = (z_m[v, u] - vz) * slant[v, u]
                    if distance <= -truncation_m:
                        continue
                    gain = float(weight[v, u])
                    if distance >= truncation_m:
                        distance, gain = truncation_m, gain * free_weight
                    elif distance < -voxel_m:  # fades out, so that the back of the band yields to other views
                        gain *= (truncation_m + distance) / (truncation_m - voxel_m)
                    old_d, old_w = float(pool_tsdf_m[slot, a, b, c]), float(pool_weight[slot, a, b, c])
                    new_w = old_w + sign * gain
                    if (old_w < known_weight) != (new_w < known_weight):
                        moved = _APPEARED_M
                    if new_w < _NO_WEIGHT:
                        pool_tsdf_m[slot, a, b, c] = 0.0
                        pool_weight[slot, a, b, c] = 0.0
                        continue
                    new_d = (old_d * old_w + sign * gain * distance) / new_w
                    new_d = min(max(new_d, -truncation_m), truncation_m)
                    if new_w >= known_weight:
                        moved = max(moved, float(abs(np.float32(new_d) - np.float32(old_d))))
                    pool_tsdf_m[slot, a, b, c] = new_d
                    pool_weight[slot, a, b, c] = min(new_w, max_weight)
                    if len(rgb) > 0 and abs(distance) < 1.5 * voxel_m:
                        _blend(pool_rgb[slot, a, b, c], rgb[v, u], gain / new_w)
        moved_m[slot] += moved


@kernel
def _blend(voxel_rgb: NDArray[np.uint8], pixel_rgb: NDArray[np.uint8], share: float) -> None:
    """Mix a pixel's colour in; black stands for a voxel that has no colour yet."""
    if voxel_rgb[0] == 0 and voxel_rgb[1] == 0 and voxel_rgb[2] == 0:
        share = 1.0
    for c in range(3):
        voxel_rgb[c] = np.uint8(voxel_rgb[c] + share * (float(pixel_rgb[c]) - voxel_rgb[c]) + 0.5)


@kernel
def copy_window(
    table: NDArray[np.int64],
    slots: NDArray[np.int32],
    pool_tsdf_m: NDArray[np.float32],
    pool_weight: NDArray[np.float32],
    pool_rgb: NDArray[np.uint8],
    origin: NDArray[np.int64],
    known_weight: float,
    tsdf_m: NDArray[np.float32],
    weight: NDArray[np.float32],
    rgb: NDArray[np.uint8],
) -> None:
    """Fill a dense box from the blocks that it meets; voxels with too little weight stay unknown."""
    size = BLOCK_VOXELS
    nx, ny, nz = tsdf_m.shape
    for bi in range(origin[0] // size, (origin[0] + nx - 1) // size + 1):
        for bj in range(origin[1] // size, (origin[1] + ny - 1) // size + 1):
            for bk in range(origin[2] // size, (origin[2] + nz - 1) // size + 1):
                packed = _pack(bi, bj, bk)
                at = _place(table, packed)
                if table[at] != packed:
                    continue
                slot = slots[at]
                x0, y0, z0 = bi * size - origin[0], bj * size - origin[1], bk * size - origin[2]
                for x in range(max(x0, 0), min(x0 + size, nx)):
                    for y in range(max(y0, 0), min(y0 + size, ny)):
                        for z in range(max(z0, 0), min(z0 + size, nz)):
                            if pool_weight[slot, x - x0, y - y0, z - z0] < known_weight:
                                continue
                            weight[x, y, z] = pool_weight[slot, x - x0, y - y0, z - z0]
                            tsdf_m[x, y, z] = pool_tsdf_m[slot, x - x0, y - y0, z - z0]
                            for c in range(3):
                                rgb[x, y, z, c] = pool_rgb[slot, x - x0, y - y0, z - z0, c]


@kernel
def resample(
    table: NDArray[np.int64],
    slots: NDArray[np.int32],
    pool_tsdf_m: NDArray[np.float32],
    pool_weight: NDArray[np.float32],
    pool_rgb: NDArray[np.uint8],
    known_weight: float,
    old_from_new: NDArray[np.float64],
    stretch: float,
    truncation_m: float,
    keys: NDArray[np.int32],
    tsdf_m: NDArray[np.float32],
    weight: NDArray[np.float32],
    rgb: NDArray[np.uint8],
) -> None:
    """Fill blocks `keys` of a world that moved: trilinear from the old voxels around each place, known ones only.

    Args:
        old_from_new: (3, 4) in voxels.
        stretch: by what distances grow.
    """
    size, m = BLOCK_VOXELS, old_from_new
    at, base = np.empty(3), np.empty(3, np.int64)
    for row in range(len(keys)):
        x0, y0, z0 = keys[row, 0] * size + 0.5, keys[row, 1] * size + 0.5, keys[row, 2] * size + 0.5
        last, slot = EMPTY, -1
        for a in range(size):
            for b in range(size):
                for c in range(size):
                    x, y, z = x0 + a, y0 + b, z0 + c
                    for k in range(3):
                        at[k] = m[k, 0] * x + m[k, 1] * y + m[k, 2] * z + m[k, 3] - 0.5
                        base[k] = int(np.floor(at[k]))
                        at[k] -= base[k]
                    known, distance, heavy, most = 0.0, 0.0, 0.0, 0.0
                    for corner in range(8):
                        dx, dy, dz = corner >> 2, (corner >> 1) & 1, corner & 1
                        share = abs(1 - dx - at[0]) * abs(1 - dy - at[1]) * abs(1 - dz - at[2])
                        if share == 0.0:
                            continue
                        i, j, k = base[0] + dx, base[1] + dy, base[2] + dz
                        packed = _pack(i // size, j // size, k // size)
                        if packed != last:
                            place, last = _place(table, packed), packed
                            slot = slots[place] if table[place] == packed else -1
                        if slot < 0:
                            continue
                        i, j, k = i % size, j % size, k % size
                        if pool_weight[slot, i, j, k] < known_weight:
                            continue
                        known += share
                        distance += share * pool_tsdf_m[slot, i, j, k]
                        heavy += share * pool_weight[slot, i, j, k]
                        if share > most:
                            most = share
                            for n in range(3):
                                rgb[row, a, b, c, n] = pool_rgb[slot, i, j, k, n]
                    if known >= _LEAST_KNOWN:
                        tsdf_m[row, a, b, c] = min(max(stretch * distance / known, -truncation_m), truncation_m)
                        weight[row, a, b, c] = heavy / known
