import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from navmesh.recast import (
    MAX_SPAN_HEIGHT,
    WALKABLE,
    Agent,
    Config,
    Standing,
    TileFrame,
    World,
    build_from_spans,
    build_from_triangles,
    radius_cells,
)
from navmesh.tiles import NavTile, TileKey

HUMAN = Agent()
TILE_M = 3.2
REACH = (1.0, 2.0, 1.0)


def frame(x: int = 0, z: int = 0, border: int = 10) -> TileFrame:
    return TileFrame(TileKey(x, z), 0.05, 0.025, border)


def slab(f: TileFrame, top: int = 10, *, x: slice = slice(None), z: slice = slice(None)) -> np.ndarray:
    """Ground at one height over some columns of a tile."""
    xs, zs = np.arange(f.side_cells)[x], np.arange(f.side_cells)[z]
    gx, gz = np.meshgrid(xs, zs, indexing="ij")
    spans = np.zeros((gx.size, 5), np.uint16)
    spans[:, 0], spans[:, 1], spans[:, 3], spans[:, 4] = gx.ravel(), gz.ravel(), top, WALKABLE
    return spans


def flat_tile(x: int = 0, z: int = 0) -> NavTile:
    f = frame(x, z)
    return build_from_spans(slab(f), f, HUMAN, Config())


def flat_world(*keys: tuple[int, int]) -> World:
    world = World(TILE_M, (0.0, 0.0, 0.0))
    for x, z in keys:
        world.set(TileKey(x, z), flat_tile(x, z).blob, revision=7)
    return world


# -- tiles ------------------------------------------------------------------------------------------------------------


def test_a_flat_slab_becomes_one_square_with_four_portals() -> None:
    tile = flat_tile(2, -1)
    assert len(tile.polys) == 1
    assert sorted(tile.neighbours[0].tolist()) == [0x8000, 0x8001, 0x8002, 0x8003, 0xFFFF, 0xFFFF]
    corners = tile.verts * [0.05, 0.025, 0.05] + tile.origin_m
    assert corners.min(axis=0) == pytest.approx([6.4, 0.25, -3.2], abs=1e-6)
    assert corners.max(axis=0) == pytest.approx([9.6, 0.25, 0.0], abs=1e-6)
    assert tile.areas.tolist() == [WALKABLE]


def test_the_same_spans_in_any_order_give_the_same_bytes() -> None:
    f = frame()
    spans = np.concatenate([slab(f), slab(f, 60, x=slice(30, 40), z=slice(30, 40))])
    shuffled = np.random.default_rng(1).permutation(spans)
    assert build_from_spans(spans, f, HUMAN, Config()).blob == build_from_spans(shuffled, f, HUMAN, Config()).blob


@pytest.mark.parametrize("spans", [np.zeros((0, 5), np.uint16), slab(frame()) * np.array([1, 1, 1, 1, 0], np.uint16)])
def test_nothing_walkable_is_an_empty_tile(spans: np.ndarray) -> None:
    tile = build_from_spans(spans, frame(), HUMAN, Config())
    assert tile.blob == b""
    assert tile.verts.shape == (0, 3)
    assert tile.polys.shape == tile.neighbours.shape == (0, 6)
    assert tile.origin_m == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("excess", [-1, 0])
def test_a_clearance_of_exactly_the_agents_height_is_enough(excess: int) -> None:
    f, headroom = frame(), 68 + excess  # 1.7 m
    ceiling = slab(f, 10)
    ceiling[:, 2], ceiling[:, 3], ceiling[:, 4] = 10 + headroom, 10 + headroom + 4, 0
    tile = build_from_spans(np.concatenate([slab(f, 10), ceiling]), f, HUMAN, Config())
    assert bool(tile.blob) == (excess == 0)


def test_metres_become_cells_on_the_safe_side() -> None:
    exact = Config(radius_margin_cells=0)
    assert radius_cells(Agent(radius_m=0.25), 0.05, exact) == 5
    assert radius_cells(Agent(radius_m=0.26), 0.05, exact) == 6
    assert radius_cells(Agent(radius_m=0.25), 0.05, Config(radius_margin_cells=1.5)) == 7


@pytest.mark.parametrize(("climb_m", "is_one_piece"), [(0.25, True), (0.24, False)])
def test_a_step_is_climbed_up_to_the_agents_climb(climb_m: float, is_one_piece: bool) -> None:
    f = frame()
    spans = np.concatenate([slab(f, 10, x=slice(0, 42)), slab(f, 20, x=slice(42, None))])
    tile = build_from_spans(spans, f, Agent(max_climb_m=climb_m), Config())
    world = World(TILE_M, (0.0, 0.0, 0.0))
    world.set(f.key, tile.blob)
    assert world.reachable((0.5, 0.25, 1.6), (2.7, 0.5, 1.6), (0.3, 0.2, 0.3)) == is_one_piece


def test_an_agent_beyond_recasts_limits_is_refused_in_metres() -> None:
    with pytest.raises(ValueError, match=r"height of 6\.5 m is 260 cells"):
        build_from_spans(slab(frame()), frame(), Agent(height_m=6.5), Config())
    with pytest.raises(ValueError, match="radius must be 0 to 127"):
        build_from_spans(slab(frame()), frame(), Agent(radius_m=7), Config())


@pytest.mark.parametrize(
    "span", [(84, 0, 0, 1, 0), (0, 84, 0, 1, 0), (0, 0, 5, 5, 0), (0, 0, 0, MAX_SPAN_HEIGHT + 1, 0), (0, 0, 0, 1, 64)]
)
def test_spans_outside_the_grid_are_refused(span: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"span|area"):
        build_from_spans(np.array([span], np.uint16), frame(), HUMAN, Config())


def test_too_many_spans_in_a_column_are_refused_and_many_layers_are_not() -> None:
    spans = np.zeros((256, 5), np.uint16)
    spans[:, 2] = np.arange(256) * 4
    spans[:, 3] = spans[:, 2] + 1
    with pytest.raises(ValueError, match="255 spans"):
        build_from_spans(spans, frame(), HUMAN, Config())
    f = TileFrame(TileKey(0, 0), 0.05, 0.025, border_cells=10, tile_cells=16)
    layers = np.concatenate([slab(f) + np.array([0, 0, 80 * i, 80 * i, 0], np.uint16) for i in range(70)])
    assert len(build_from_spans(layers, f, HUMAN, Config()).polys) >= 60


def test_a_mesh_and_the_same_shape_in_spans_give_the_same_polygons() -> None:
    f = frame()
    low, high = -0.5, 3.7
    corners = np.array([[low, 0.25, low], [high, 0.25, low], [high, 0.25, high], [low, 0.25, high]], np.float32)
    triangles = np.array([[0, 2, 1], [0, 3, 2]], np.int32)
    from_mesh = build_from_triangles(corners, triangles, f, HUMAN, Config())
    assert from_mesh.polys.tolist() == flat_tile().polys.tolist()
    with pytest.raises(ValueError, match="does not exist"):
        build_from_triangles(corners, triangles + 2, f, HUMAN, Config())
    with pytest.raises(ValueError, match="finite"):
        build_from_triangles(corners * np.float32("nan"), triangles, f, HUMAN, Config())


@given(seed=st.integers(0, 2**32 - 1), radius=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_storeys_above_change_nothing_below(seed: int, radius: int) -> None:
    """Ground under the open sky is judged and eroded by the row, all other as Recast does it: with the same result."""
    f = TileFrame(TileKey(0, 0), 0.05, 0.025, border_cells=10, tile_cells=64)
    rng = np.random.default_rng(seed)
    ground = slab(f)
    ground[:, 3] += np.repeat(rng.integers(0, 14, len(ground) // 12), 12).astype(np.uint16)
    ground = ground[rng.random(len(ground)) > 0.002]
    sky = slab(f) + np.array([0, 0, 5000, 5000, 0], np.uint16)
    is_island = (sky[:, 0] < 3) & (sky[:, 1] < 3)  # its middle is a place, until it is eroded
    sky[:, 4] = np.where(is_island, WALKABLE, 0)
    agent = Agent(radius_m=0.05 * radius)
    config = Config(radius_margin_cells=0, min_region_m2=0)
    alone = build_from_spans(ground, f, agent, config)
    assert build_from_spans(np.concatenate([ground, sky]), f, agent, config).blob == alone.blob


# -- worlds -----------------------------------------------------------------------------------------------------------


def test_a_path_crosses_tiles_and_leaves_their_bytes_alone() -> None:
    blob = flat_tile(0, 0).blob
    untouched = bytes(bytearray(blob))
    world = flat_world((1, 0), (2, 0))
    world.set(TileKey(0, 0), blob)
    points, tiles, is_partial = world.path((0.5, 0.25, 1.6), (9.0, 0.25, 1.6), REACH)
    assert not is_partial
    assert points[0].tolist() == pytest.approx([0.5, 0.25, 1.6])
    assert points[-1].tolist() == pytest.approx([9.0, 0.25, 1.6])
    assert list(tiles) == [TileKey(0, 0), TileKey(1, 0), TileKey(2, 0)]
    assert blob == untouched


def test_an_unreachable_goal_is_partial_and_leads_as_near_as_one_can_stand() -> None:
    world = flat_world((0, 0), (2, 0))
    points, _, is_partial = world.path((0.5, 0.25, 1.6), (6.8, 0.25, 1.6), (4.0, 2.0, 4.0))
    assert is_partial
    assert points[-1].tolist() == pytest.approx([3.2, 0.25, 1.6], abs=1e-3)
    assert not world.reachable((0.5, 0.25, 1.6), (6.8, 0.25, 1.6), REACH)
    points, tiles, is_partial = world.path((0.5, 0.25, 1.6), (6.8, 0.25, 1.6), REACH)
    assert is_partial
    assert len(points) == 0
    assert tiles == {}


def test_nowhere_to_stand() -> None:
    world = flat_world((0, 0))
    assert world.nearest((50.0, 0.0, 50.0), REACH) is None
    assert world.raycast((50.0, 0.0, 50.0), (0.0, 0.0, 0.0), REACH) is None
    assert len(world.path((50.0, 0.0, 50.0), (0.0, 0.0, 0.0), REACH)[0]) == 0


def test_nearest_and_raycast() -> None:
    world = flat_world((0, 0), (1, 0))
    found = world.nearest((1.0, 1.0, -0.4), REACH)
    assert found == Standing(pytest.approx((1.0, 0.25, 0.0)), {TileKey(0, 0): 7}, WALKABLE)  # type: ignore[arg-type]
    end, is_blocked, sees, tiles = world.raycast((1.0, 0.25, 1.0), (9.0, 0.25, 1.0), REACH) or pytest.fail("no ray")
    assert is_blocked
    assert end == pytest.approx((6.4, 0.25, 1.0), abs=1e-3)
    assert not sees
    assert tiles == {TileKey(0, 0): 7, TileKey(1, 0): 7}
    end, is_blocked, sees, _ = world.raycast((1.0, 0.25, 1.0), (5.0, 0.25, 2.0), REACH) or pytest.fail("no ray")
    assert not is_blocked
    assert end == pytest.approx((5.0, 0.25, 2.0))
    assert sees


def test_reach_is_bounded_by_the_walk() -> None:
    world = flat_world((0, 0), (1, 0), (2, 0), (5, 0))
    near = world.reach((1.0, 0.25, 1.0), 3.0, REACH) or pytest.fail("nowhere")
    assert near.tiles.tolist() == [[0, 0], [1, 0]]
    assert near.polygons.tolist() == [0, 0]
    assert near.walk_m[0] == 0.0
    assert near.walk_m[1] == pytest.approx(np.hypot(2.2, 0.6), abs=1e-3)  # to the middle of the edge between them
    far = world.reach((1.0, 0.25, 1.0), 100.0, REACH) or pytest.fail("nowhere")
    assert list(far.revisions) == [TileKey(0, 0), TileKey(1, 0), TileKey(2, 0)]
    assert not far.is_cut
    assert world.reach((50.0, 0.0, 50.0), 1.0, REACH) is None
    with pytest.raises(ValueError, match="positive"):
        world.reach((1.0, 0.25, 1.0), 0.0, REACH)


def test_tiles_are_replaced_and_removed() -> None:
    world = flat_world((0, 0), (1, 0))
    world.set(TileKey(1, 0), b"")
    world.set(TileKey(7, 7), b"")
    assert len(world) == 1
    assert not world.reachable((0.5, 0.25, 1.6), (4.0, 0.25, 1.6), (0.1, 1.0, 0.1))
    for _ in range(1100):  # Detour's salt wraps after 1023
        world.set(TileKey(1, 0), flat_tile(1, 0).blob if len(world) == 1 else b"")
    world.set(TileKey(1, 0), flat_tile(1, 0).blob)
    assert world.reachable((0.5, 0.25, 1.6), (4.0, 0.25, 1.6), (0.1, 1.0, 0.1))


def test_a_world_grows_with_its_tiles() -> None:
    world = World(TILE_M, (0.0, 0.0, 0.0), tile_bits=1)
    for x in range(-3, 4):
        world.set(TileKey(x, -2), flat_tile(x, -2).blob)
    assert len(world) == 7
    assert world.reachable((-9.0, 0.25, -5.0), (12.0, 0.25, -5.0), REACH)


def test_points_that_are_no_places_are_refused() -> None:
    world = flat_world((0, 0))
    with pytest.raises(ValueError, match="finite"):
        world.nearest((float("nan"), 0.0, 0.0), REACH)
    with pytest.raises(ValueError, match="positive"):
        world.path((0.0, 0.0, 0.0), (1.0, 0.0, 1.0), (0.0, 1.0, 1.0))


def test_a_blob_of_another_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="another tile"):
        flat_world().set(TileKey(5, 5), flat_tile(0, 0).blob)


@given(st.integers(0, 10_000), st.integers(0, 7))
@settings(max_examples=300, deadline=None)
def test_a_corrupt_blob_is_refused_or_harmless(place: int, bit: int) -> None:
    blob = bytearray(bumpy_blob())
    blob[place % len(blob)] ^= 1 << bit
    world = World(TILE_M, (0.0, 0.0, 0.0))
    try:
        world.set(TileKey(0, 0), bytes(blob))
    except ValueError:
        return
    world.path((0.5, 0.25, 0.5), (2.7, 0.25, 2.7), REACH)
    world.nearest((1.0, 0.25, 1.0), REACH)
    world.raycast((0.5, 0.25, 0.5), (2.7, 0.25, 2.7), REACH)


@given(st.binary(max_size=600))
@settings(deadline=None)
def test_noise_is_no_blob(noise: bytes) -> None:
    if noise:
        with pytest.raises(ValueError, match="not a Detour tile"):
            flat_world().set(TileKey(0, 0), noise)


@pytest.mark.parametrize("keep", [1, 50, 99, 100, 400, -4, -1])
def test_a_blob_cut_short_is_refused(keep: int) -> None:
    with pytest.raises(ValueError, match="not a Detour tile"):
        flat_world().set(TileKey(0, 0), bumpy_blob()[:keep])


def bumpy_blob() -> bytes:
    f = frame()
    blocks = [slab(f)] + [slab(f, 60, x=slice(a, a + 5), z=slice(b, b + 5)) for a, b in ((30, 30), (45, 20), (25, 50))]
    return build_from_spans(np.concatenate(blocks), f, HUMAN, Config()).blob


@pytest.mark.parametrize("seed", [135, 147, 540])
def test_slivers_that_recast_makes_of_rough_ground_are_taken(seed: int) -> None:
    rng = np.random.default_rng(seed)
    f = frame(border=8)
    top = np.full((f.side_cells, f.side_cells), 40)
    for _ in range(rng.integers(5, 60)):
        x, z = rng.integers(0, f.side_cells, 2)
        width, depth = rng.integers(1, 14, 2)
        top[x : x + width, z : z + depth] = 40 + rng.integers(-10, 60)
    top += (rng.random(top.shape) < 0.02) * rng.integers(0, 30, top.shape)
    spans = slab(f)
    spans[:, 3] = top.ravel()
    tile = build_from_spans(spans, f, Agent(name="cat", radius_m=0.12, height_m=0.4, max_climb_m=0.3), Config())
    world = World(TILE_M, (0.0, 0.0, 0.0))
    world.set(tile.key, tile.blob, revision=1)
    assert world.nearest((1.6, 1.0, 1.6), REACH) is not None
