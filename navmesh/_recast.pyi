import enum
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

MAX_SPAN_HEIGHT: int
VERTS_PER_POLY: int

_Point = tuple[float, float, float] | list[float]
_TileUse = tuple[int, int, int]

class Partition(enum.Enum):
    watershed = 0
    monotone = 1
    layers = 2

class TileParams:
    tile_x: int
    tile_z: int
    border: int
    walkable_height: int
    walkable_climb: int
    walkable_radius: int
    filter_low_hanging: bool
    partition: Partition
    min_region_area: int
    merge_region_area: int
    max_edge_length: int
    max_contour_error: float
    detail: bool
    detail_sample_m: float
    detail_error_m: float
    agent_height_m: float
    agent_radius_m: float
    agent_climb_m: float

class Tile:
    @property
    def origin(self) -> list[float]: ...
    @property
    def verts(self) -> NDArray[np.uint16]: ...
    @property
    def polys(self) -> NDArray[np.uint16]: ...
    @property
    def neighbours(self) -> NDArray[np.uint16]: ...
    @property
    def areas(self) -> NDArray[np.uint8]: ...
    @property
    def blob(self) -> bytes: ...

class Heightfield:
    def __init__(
        self,
        width: int,
        depth: int,
        origin: _Point,
        cell_size: float,
        cell_height: float,
        max_height: int = ...,
    ) -> None: ...
    def add_spans(self, spans: NDArray[np.uint16]) -> None: ...
    def rasterize(
        self, vertices: NDArray[np.float32], triangles: NDArray[np.int32], max_slope_deg: float, merge_climb: int
    ) -> None: ...
    def spans(self) -> NDArray[np.uint16]: ...
    def build(self, params: TileParams) -> Tile: ...

class World:
    def __init__(
        self,
        origin: _Point,
        tile_size_m: float,
        tile_bits: int = 12,
        poly_bits: int = 10,
        max_nodes: int = 16384,
        area_costs: Sequence[tuple[int, float]] = (),
    ) -> None: ...
    def set_tile(self, blob: bytes, x: int, z: int, revision: int = 0) -> None: ...
    def remove_tile(self, x: int, z: int) -> bool: ...
    @property
    def tile_count(self) -> int: ...
    def nearest(self, point: _Point, half_extents: _Point) -> tuple[list[float], _TileUse, int] | None: ...
    def reachable(self, start: _Point, goal: _Point, half_extents: _Point) -> bool: ...
    def path(
        self, start: _Point, goal: _Point, half_extents: _Point
    ) -> tuple[NDArray[np.float32], list[_TileUse], bool]: ...
    def raycast(
        self, start: _Point, end: _Point, half_extents: _Point
    ) -> tuple[list[float], bool, bool, list[_TileUse]] | None: ...
    def reach(
        self, start: _Point, within_m: float, half_extents: _Point
    ) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32], list[_TileUse], bool] | None: ...
