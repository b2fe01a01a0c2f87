"""The polygons of a NavMesh tile in about a third of their bytes. Part of the protocol: a client may import it.

Little-endian. First `f32 x 3` origin, `f64` cell size, `f64` cell height, then numbers as LEB128 (seven bits a byte,
the lowest first, the top bit says that more follow):

- how many corners; of each x, z, and how far y is from the corner before (the first from 0) as `(d << 1) ^ (d >> 31)`;
- how many polygons; of each `2 * corners`, plus 1 and then the area if it differs from the polygon's before (the first
  from 63, floor), then its corners.

Neighbours are not sent, for they follow. Behind the edge from a to b lies the polygon with an edge from b to a. Without
one it is a portal if both ends lie on the tile's border, side 0 where x = 0, 1 where z = 64, 2 where x = 64, 3 where
z = 0, the first that fits; else a wall.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

Arrays = dict[str, NDArray[Any]]

SIDE_CELLS = 64
FLOOR = 63
UNUSED, WALL, PORTAL = 0xFFFF, 0xFFFF, 0x8000
MAX_CORNERS = 6
MAX_NUMBER = 0xFFFF
_FRAME = struct.Struct("<3f2d")


class PolygonsError(ValueError):
    """Bytes that are no such tile."""


def pack(body: dict[str, Any], arrays: Arrays) -> bytes | None:
    """Pack a `nav` tile's body and its `verts`, `polys`, `neighbours` and `areas`; None = they cannot be packed.

    That is: a neighbour is not what its polygons say, or the origin is no `f32`.
    """
    verts, polys = arrays["verts"].astype(np.int64), arrays["polys"]
    used = polys != UNUSED
    if not np.array_equal(arrays["neighbours"][used], neighbours_of(verts, polys)[used]):
        return None
    frame = _FRAME.pack(*body["origin_m"], body["cell_size_m"], body["cell_height_m"])
    if list(_FRAME.unpack(frame)[:3]) != list(body["origin_m"]):
        return None
    climb = np.diff(verts[:, 1], prepend=0)
    corners = np.column_stack([verts[:, 0], verts[:, 2], (climb << 1) ^ (climb >> 31)])
    numbers = [len(verts), *corners.reshape(-1).tolist(), len(polys)]
    before = FLOOR
    for row, own, area in zip(polys.tolist(), used.tolist(), arrays["areas"].tolist(), strict=True):
        numbers += [2 * sum(own)] if area == before else [2 * sum(own) + 1, area]
        numbers += row[: sum(own)]
        before = area
    return frame + b"".join(map(_leb128, numbers))


def unpack(data: bytes) -> tuple[dict[str, Any], Arrays]:
    """The inverse of `pack`, for data nobody vouches for: the body without its agent, and the four arrays.

    Raises:
        PolygonsError: the data is no such tile.
    """
    if len(data) < _FRAME.size:
        raise PolygonsError("shorter than its own frame")
    *origin_m, cell_size_m, cell_height_m = _FRAME.unpack_from(data)
    numbers = _numbers(data[_FRAME.size :])
    try:
        corners = [[next(numbers) for _ in range(3)] for _ in range(_count(next(numbers), data))]
        rows, areas, area = [], [], FLOOR
        for _ in range(_count(next(numbers), data)):
            count, is_other = divmod(next(numbers), 2)
            area = next(numbers) if is_other else area
            rows.append([next(numbers) for _ in range(_corners(count))] + [UNUSED] * (MAX_CORNERS - count))
            areas.append(area)
    except StopIteration:
        raise PolygonsError("cut short") from None
    if next(numbers, None) is not None:
        raise PolygonsError("longer than it says")
    x, z, zigzag = np.array(corners, np.int64).reshape(-1, 3).T
    y = np.cumsum((zigzag >> 1) ^ -(zigzag & 1))
    verts, polys = np.column_stack([x, y, z]), np.array(rows, np.int64).reshape(-1, MAX_CORNERS)
    if verts.min(initial=0) < 0 or verts.max(initial=0) > MAX_NUMBER or max(areas, default=0) > 255:
        raise PolygonsError("a number is too large")
    if polys[polys != UNUSED].max(initial=-1) >= len(verts):
        raise PolygonsError("a corner that is not there")
    arrays: Arrays = {
        "verts": verts.astype(np.uint16),
        "polys": polys.astype(np.uint16),
        "neighbours": neighbours_of(verts, polys),
        "areas": np.array(areas, np.uint8),
    }
    return {"origin_m": origin_m, "cell_size_m": cell_size_m, "cell_height_m": cell_height_m}, arrays


def neighbours_of(verts: NDArray[np.integer[Any]], polys: NDArray[np.integer[Any]]) -> NDArray[np.uint16]:
    """What lies behind each edge, (m, 6), of polygons (m, 6) with corners (n, 3) in cells."""
    at_border = [verts[:, 0] == 0, verts[:, 2] == SIDE_CELLS, verts[:, 0] == SIDE_CELLS, verts[:, 2] == 0]
    sides = [sum(int(border[i]) << side for side, border in enumerate(at_border)) for i in range(len(verts))]
    rows = [[corner for corner in row if corner != UNUSED] for row in polys.tolist()]
    edges = [list(zip(row, row[1:] + row[:1], strict=True)) for row in rows]
    owner = {edge: number for number, own in enumerate(edges) for edge in own}
    out = np.full(polys.shape, WALL, np.uint16)
    for number, own in enumerate(edges):
        for slot, (a, b) in enumerate(own):
            shared = sides[a] & sides[b]
            if (behind := owner.get((b, a))) is not None:
                out[number, slot] = behind
            elif shared:
                out[number, slot] = PORTAL | ((shared & -shared).bit_length() - 1)
    return out


def _leb128(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _numbers(data: bytes) -> Iterator[int]:
    number = shift = 0
    for byte in data:
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte & 0x80 == 0:
            yield number
            number = shift = 0
        elif shift > 28:
            raise PolygonsError("a number has no end")
    if shift:
        raise PolygonsError("ends within a number")


def _count(count: int, data: bytes) -> int:
    if count > len(data):
        raise PolygonsError(f"{count} in {len(data)} bytes")
    return count


def _corners(count: int) -> int:
    if not 3 <= count <= MAX_CORNERS:
        raise PolygonsError(f"a polygon of {count} corners")
    return count
