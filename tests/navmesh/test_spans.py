import numpy as np
import pytest

from navmesh.latch import CELLS_SHAPE, FREE, SOLID, UNKNOWN, LatchedCells
from navmesh.latch import Config as LatchConfig
from navmesh.recast import MAX_SPAN_HEIGHT, WALKABLE
from navmesh.spans import BASE_HALF_VOXELS, MAX_SPANS_PER_COLUMN, Config, spans_of
from navmesh.tiles import TILE_BLOCKS, TileKey

SIDE = TILE_BLOCKS + 2
STEEP = 0b100
PLAIN = Config(speck_voxels=0, bridge_cells=0)
Span = tuple[int, int, int]


class Field:
    """Cells of one tile and a ring of blocks, written voxel column by voxel column."""

    def __init__(self, bottom_block: int = 0, num_blocks: int = 1) -> None:
        self.bottom_block, self.num_blocks = bottom_block, num_blocks
        self.cells = np.full((SIDE * 8, SIDE * 8, num_blocks * 16), UNKNOWN, np.uint8)

    def spans(self, config: Config = PLAIN, slope_limit: int = 0) -> dict[tuple[int, int], list[Span]]:
        """Spans by column, heights counted from the field's bottom."""
        blocks = self.cells.reshape(SIDE, 8, SIDE, 8, self.num_blocks, 16).transpose(0, 2, 4, 1, 3, 5)
        heights = range(self.bottom_block, self.bottom_block + self.num_blocks)
        keys = [(i - 1, j, k - 1) for i in range(SIDE) for k in range(SIDE) for j in heights]
        cells = LatchedCells([45.0, 60.0], 0.05, LatchConfig())
        cells.put(np.array(keys, np.int32), blocks.reshape(-1, *CELLS_SHAPE))
        base = BASE_HALF_VOXELS + 16 * self.bottom_block
        columns: dict[tuple[int, int], list[Span]] = {}
        for x, z, smin, smax, area in spans_of(cells, TileKey(0, 0), 2, slope_limit, config).astype(int).tolist():
            columns.setdefault((x + 6, z + 6), []).append((smin - base, smax - base, area))
        return columns


def floor(field: Field) -> Field:
    """Ground at height 4 with air above it up to 8, and nothing known beyond."""
    field.cells[:, :, 0:4] = SOLID
    field.cells[:, :, 4:8] = FREE
    return field


def test_a_floor_under_unknown_air_is_ground() -> None:
    columns = floor(Field()).spans()
    assert len(columns) == (64 + 2 * 2) ** 2
    assert set(map(tuple, columns.values())) == {((0, 4, WALKABLE),)}


def test_a_solid_nobody_saw_from_above_blocks_and_is_never_ground() -> None:
    field = Field()
    field.cells[:, :, 0:4] = SOLID
    assert set(map(tuple, field.spans().values())) == {((0, 4, 0),)}


def test_a_solid_at_the_last_known_block_has_unknown_above() -> None:
    field = Field()
    field.cells[:, :, 12:16] = SOLID
    assert field.spans()[40, 40] == [(12, 16, 0)]


def test_nothing_known_gives_nothing() -> None:
    assert Field().spans() == {}


def test_spans_join_across_blocks_and_split_at_missing_ones() -> None:
    field = Field(num_blocks=2)
    field.cells[:, :, 10:20] = SOLID
    field.cells[:, :, 20:] = FREE
    assert field.spans()[40, 40] == [(10, 20, WALKABLE)]


def test_steep_ground_is_not_walkable_for_the_agents_it_is_too_steep_for() -> None:
    field = floor(Field())
    field.cells[36:45, 36:45, 3] |= STEEP
    assert field.spans(slope_limit=0)[40, 40] == [(0, 4, 0)]
    assert field.spans(slope_limit=1)[40, 40] == [(0, 4, WALKABLE)]


def test_steep_cells_beside_level_ground_of_their_height_are_an_edge_of_it() -> None:
    field = floor(Field())
    field.cells[40:42, :, 3] |= STEEP
    assert field.spans()[40, 40] == [(0, 4, WALKABLE)]
    field.cells[40:46, :, 3] |= STEEP
    assert field.spans()[43, 40] == [(0, 4, 0)]


def test_a_thin_board_is_an_obstacle() -> None:
    field = floor(Field(num_blocks=2))
    field.cells[40:44, 40:44, 20:21] = SOLID
    field.cells[40:44, 40:44, 21:24] = FREE
    columns = field.spans(Config())
    assert all(len(columns[x, z]) == 2 for x in range(40, 44) for z in range(40, 44))


def test_a_stray_voxel_in_the_air_is_no_obstacle_but_a_pole_is() -> None:
    field = floor(Field(num_blocks=2))
    field.cells[40, 40, 12:14] = SOLID
    field.cells[50, 50, 8:32] = SOLID
    columns = field.spans(Config(speck_voxels=10))
    assert columns[40, 40] == [(0, 4, WALKABLE)]
    assert columns[50, 50] == [(0, 4, WALKABLE), (8, 32, 0)]
    assert len(field.spans(Config(speck_voxels=0))[40, 40]) == 2


def test_shreds_beside_a_wall_are_no_obstacle_but_a_shelf_on_it_is() -> None:
    field = floor(Field(num_blocks=2))
    field.cells[40:44, :, 0:32] = SOLID
    field.cells[44, 39:42, 20:22] = SOLID
    field.cells[44:48, 50:58, 20:22] = SOLID
    columns = field.spans(Config())
    assert all(columns[44, z] == [(0, 4, WALKABLE)] for z in range(39, 42))
    assert columns[43, 40] == [(0, 32, 0)]
    assert all(len(columns[x, z]) == 2 for x in range(44, 48) for z in range(51, 57))
    assert len(field.spans(Config(speck_voxels=0))[44, 40]) == 2


@pytest.mark.parametrize(("width", "is_bridged"), [(1, True), (2, True), (4, True), (5, False)])
def test_a_narrow_unknown_gap_in_the_ground_is_bridged(width: int, is_bridged: bool) -> None:
    field = floor(Field())
    field.cells[40 : 40 + width, :, :] = UNKNOWN
    bridged = [(x, 40) in field.spans(Config()) for x in range(40, 40 + width)]
    assert bridged == [is_bridged] * width
    if is_bridged:
        assert field.spans(Config())[40, 40] == [(3, 4, WALKABLE)]


def test_a_gap_in_which_air_was_seen_is_a_hole() -> None:
    field = floor(Field())
    field.cells[40, 40, :] = FREE
    assert (40, 40) not in field.spans(Config())


def test_a_gap_between_grounds_of_different_height_stays() -> None:
    field = floor(Field())
    field.cells[41:, :, 4:8] = SOLID
    field.cells[41:, :, 8:12] = FREE
    field.cells[40, :, :] = UNKNOWN
    assert (40, 40) not in field.spans(Config())


def test_a_wall_standing_in_the_gap_is_left_alone() -> None:
    field = floor(Field())
    field.cells[40, :, 0:12] = SOLID
    field.cells[40, :, 12:] = FREE
    assert field.spans(Config())[40, 40] == [(0, 12, WALKABLE)]


def test_spans_beyond_recasts_heights_are_cut() -> None:
    far_below, far_above = Field(bottom_block=-400), Field(bottom_block=400)
    for field in (far_below, far_above):
        floor(field)
        assert field.spans() == {}
    on_the_edge = Field(bottom_block=(MAX_SPAN_HEIGHT + 1 - BASE_HALF_VOXELS) // 16 - 1)
    on_the_edge.cells[:] = SOLID
    assert on_the_edge.spans()[40, 40] == [(0, 15, 0)]


def test_a_column_of_very_many_layers_is_cut_at_recasts_limit() -> None:
    field = Field(num_blocks=40)
    field.cells[40, 40, 0::2] = SOLID
    field.cells[40, 40, 1::2] = FREE
    assert len(field.spans()[40, 40]) == MAX_SPANS_PER_COLUMN


@pytest.mark.parametrize(("border_cells", "slope_limit"), [(-1, 0), (5000, 0), (8, 1), (8, -1)])
def test_what_is_out_of_range_is_refused(border_cells: int, slope_limit: int) -> None:
    with pytest.raises(ValueError, match=r"border|slope limit"):
        spans_of(LatchedCells([45.0], 0.05, LatchConfig()), TileKey(0, 0), border_cells, slope_limit, Config())


@pytest.mark.parametrize("height", [3, 5])
def test_one_cell_of_ground_that_stands_out_by_one_is_levelled(height: int) -> None:
    field = floor(Field())
    field.cells[40, 40, 0:height] = SOLID
    field.cells[40, 40, height:8] = FREE
    assert field.spans()[40, 40] == [(0, 4, WALKABLE)]


def test_a_step_is_not_levelled() -> None:
    field = floor(Field())
    field.cells[40:, :, 4] = SOLID
    columns = field.spans()
    assert columns[39, 40] == [(0, 4, WALKABLE)]
    assert columns[40, 40] == [(0, 5, WALKABLE)]
