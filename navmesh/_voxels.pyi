from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BASE_CELLS: int
SPAN_REACH: int
AREAS: tuple[int, int, int]

_Tile = tuple[int, int] | list[int]

class CellStore:
    def __init__(
        self,
        min_weight: float,
        hysteresis_m: float,
        contradiction_m: float,
        contradiction_cells: int,
        max_step_m: float,
        cosines: Sequence[tuple[float, float, float]],
    ) -> None: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    def clear(self) -> None: ...
    def mark(self, keys: NDArray[np.int32]) -> list[list[int]]: ...
    def begin(self, tiles: Sequence[_Tile]) -> tuple[int, NDArray[np.int32]]: ...
    def latch(
        self,
        first: int,
        last: int,
        rows: NDArray[np.int64],
        tsdf_m: NDArray[np.float32],
        weight: NDArray[np.float32],
        known_weight: float,
    ) -> None: ...
    def finish(self, reach: int) -> tuple[list[list[int]], list[list[int]]]: ...
    def spans(
        self,
        x: int,
        z: int,
        border_cells: int,
        slope_limit: int,
        speck_cells: int,
        bridge_columns: int,
        areas: bool = True,
        step_cells: int = 0,
    ) -> NDArray[np.uint16]: ...
    def put(self, keys: NDArray[np.int32], cells: NDArray[np.uint8]) -> None: ...
    def get(self, keys: NDArray[np.int32]) -> NDArray[np.uint8]: ...
    def state(self) -> tuple[NDArray[np.int32], NDArray[np.uint16]]: ...
    def restore(self, keys: NDArray[np.int32], planes: NDArray[np.uint16]) -> None: ...
