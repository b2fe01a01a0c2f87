from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sdf_world import Box, SdfWorld, room
from mapping.changes import MapChange
from mapping.transforms import Sim3
from navmesh.incremental import Config, Incremental
from navmesh.recast import Agent
from navmesh.tiles import NavTile, SurfaceTile, TileChange, TileKey

HUMAN = Agent()
CAT = Agent(name="cat", radius_m=0.1, height_m=0.3, max_climb_m=0.3, max_slope_deg=60)
AT_ONCE = Config(surface_period_s=0.0)


class Clock:
    def __init__(self, step_s: float = 0.0) -> None:
        self.now_s, self.step_s = 0.0, step_s

    def __call__(self) -> float:
        self.now_s += self.step_s
        return self.now_s


class Client:
    """Holds the newest of every tile, as a client would."""

    def __init__(self) -> None:
        self.nav: dict[tuple[str, TileKey], bytes] = {}
        self.mesh: dict[TileKey, bytes] = {}
        self.occluder: dict[TileKey, bytes] = {}

    def take(self, change: TileChange) -> None:
        for tile in change.nav:
            self.nav[tile.agent, tile.key] = tile.blob
        for layer, tiles in ((self.mesh, change.mesh), (self.occluder, change.occluder)):
            for surface in tiles:
                layer[surface.key] = surface.vertices_m.tobytes() + surface.indices.tobytes()

    def state(self) -> tuple[dict[object, bytes], ...]:
        """Everything that is not empty."""
        return tuple({k: v for k, v in layer.items() if v} for layer in (self.nav, self.mesh, self.occluder))


def batch(world: SdfWorld, agents: tuple[Agent, ...] = (HUMAN,)) -> Client:
    client = Client()
    client.take(Incremental(world, agents, AT_ONCE).step())
    return client


def dirty(blocks: np.ndarray) -> MapChange:
    return MapChange(epoch=0, dirty_blocks=blocks)


def millimetres(low: int, high: int) -> st.SearchStrategy[float]:
    return st.integers(low, high).map(lambda n: n / 1000)


boxes = st.builds(
    lambda x, z, w, h, d: Box((x, 0.0, z), (x + w, h, z + d)),
    *[millimetres(0, 3500)] * 2,
    millimetres(150, 900),
    st.one_of(millimetres(1, 60), millimetres(60, 900)),
    millimetres(150, 900),
)
"""Many of them stand out from the floor, or from each other, by less than the latch's hysteresis."""
edits = st.lists(st.one_of(boxes, st.integers(0, 5)), max_size=6)


@given(edits)
@settings(max_examples=8, deadline=None)
def test_after_edits_of_any_depth_tiles_equal_a_batch_build(script: list[Box | int]) -> None:
    """A box is added, a number takes that box away again: one by one, with two threads, at once from the same cells,
    and, once reread, at once from the voxels alone."""
    world = SdfWorld(room(4.0))
    agents, added = (HUMAN, CAT), list[Box]()
    with ThreadPoolExecutor(2) as pool:
        followers = [Incremental(world, agents, AT_ONCE), Incremental(world, agents, AT_ONCE, executor=pool)]
        clients = [Client(), Client()]
        for tiles, client in zip(followers, clients, strict=True):
            client.take(tiles.step())
        for edit in script:
            if isinstance(edit, int) and edit >= len(added):
                continue
            blocks = world.add(edit) if isinstance(edit, Box) else world.remove(added.pop(edit))
            added += [edit] if isinstance(edit, Box) else []
            for tiles, client in zip(followers, clients, strict=True):
                client.take(tiles.apply(dirty(blocks)))
    rebuilt = Client()
    rebuilt.take(Incremental(world, agents, AT_ONCE, latched=followers[0].latched).step())
    assert clients[0].state() == clients[1].state() == rebuilt.state()
    followers[0].reread()
    clients[0].take(followers[0].step())
    assert clients[0].state() == batch(world, agents).state()


def test_an_edit_shallower_than_the_hysteresis_waits_until_the_map_is_reread() -> None:
    """A platform that can just be climbed grows by 2 cm."""
    world = SdfWorld([*room(4.0), Box((0.4, 0.0, 0.4), (1.7, 0.25, 3.0))])
    tiles, client = Incremental(world, [HUMAN], AT_ONCE), Client()
    client.take(tiles.step())
    assert tiles.apply(dirty(world.add(Box((0.4, 0.0, 0.4), (1.7, 0.27, 3.0))))).nav == ()
    tiles.reread()
    risen = tiles.step()
    assert {tile.key for tile in risen.nav} >= {TileKey(0, 0)}
    client.take(risen)
    assert client.nav[HUMAN.name, TileKey(0, 0)] == batch(world).nav[HUMAN.name, TileKey(0, 0)]


def test_rereading_a_map_that_did_not_change_reports_nothing() -> None:
    tiles = Incremental(SdfWorld(room(4.0)), [HUMAN], AT_ONCE)
    tiles.step()
    tiles.reread()
    assert tiles.pending
    change = tiles.step()
    assert (change.nav, change.mesh, change.occluder) == ((), (), ())


def test_cells_of_other_slope_limits_are_refused() -> None:
    world = SdfWorld(room(4.0))
    tiles = Incremental(world, [HUMAN], AT_ONCE)
    tiles.step()
    with pytest.raises(ValueError, match="slope limits"):
        Incremental(world, [HUMAN, CAT], AT_ONCE, latched=tiles.latched)


def test_two_threads_give_the_same_bytes() -> None:
    world = SdfWorld(room())
    with ThreadPoolExecutor(2) as pool:
        client = Client()
        client.take(Incremental(world, (HUMAN, CAT), AT_ONCE, executor=pool).step())
    assert client.state() == batch(world, (HUMAN, CAT)).state()


def test_an_edit_on_the_corner_of_four_tiles_reaches_all_four() -> None:
    world = SdfWorld([Box((-3.2, -0.3, -3.2), (9.6, 0.0, 9.6))])
    tiles = Incremental(world, [HUMAN], AT_ONCE)
    tiles.step()
    change = tiles.apply(dirty(world.add(Box((3.1, 0.0, 3.1), (3.3, 0.5, 3.3)))))
    corner = {TileKey(0, 0), TileKey(0, 1), TileKey(1, 0), TileKey(1, 1)}
    assert {tile.key for tile in change.nav} == corner
    assert {tile.key for tile in change.occluder} == corner


def test_removing_an_obstacle_restores_the_original_blob() -> None:
    world = SdfWorld(room())
    tiles = Incremental(world, [HUMAN], AT_ONCE)
    before = {tile.key: tile.blob for tile in tiles.step().nav}
    box = Box((1.2, 0.0, 1.3), (1.6, 0.4, 1.9))
    changed = tiles.apply(dirty(world.add(box))).nav
    restored = tiles.apply(dirty(world.remove(box))).nav
    assert changed
    assert {tile.key: tile.blob for tile in restored} == {tile.key: before[tile.key] for tile in changed}


def test_a_change_that_changes_no_byte_is_not_reported() -> None:
    world = SdfWorld(room())
    tiles = Incremental(world, [HUMAN], AT_ONCE)
    tiles.step()
    change = tiles.apply(dirty(world.block_keys()))
    assert (change.nav, change.mesh, change.occluder) == ((), (), ())
    assert tiles.pending == 0


def test_a_tile_that_becomes_empty_is_reported_empty_once() -> None:
    slab = Box((0.0, -0.3, 0.0), (3.2, 0.0, 3.2))
    world = SdfWorld([slab])
    tiles = Incremental(world, [HUMAN], AT_ONCE)
    assert [tile.key for tile in tiles.step().nav] == [TileKey(0, 0)]
    gone = world.remove(slab)
    change = tiles.apply(dirty(gone))
    assert [(tile.key, tile.blob, len(tile.polys)) for tile in change.nav] == [(TileKey(0, 0), b"", 0)]
    assert [len(tile.indices) for tile in change.mesh] == [0] * len(change.mesh)
    again = tiles.apply(dirty(gone))
    assert (again.nav, again.mesh, again.occluder) == ((), (), ())


def test_versions_count_reported_changes() -> None:
    world = SdfWorld(room())
    tiles = Incremental(world, [HUMAN], AT_ONCE)
    assert tiles.version("nav", TileKey(0, 0), "human") == 0
    tiles.step()
    tiles.apply(dirty(world.block_keys()))
    assert tiles.version("nav", TileKey(0, 0), "human") == 1
    tiles.apply(dirty(world.add(Box((1.2, 0.0, 1.3), (1.6, 0.4, 1.9)))))
    assert tiles.version("nav", TileKey(0, 0), "human") == 2
    assert tiles.version("nav", TileKey(1, 1), "human") == 1
    assert tiles.version("mesh", TileKey(0, 0)) == 2


def test_the_budget_bounds_a_step_and_loses_nothing() -> None:
    world = SdfWorld([Box((0.0, -0.3, 0.0), (12.8, 0.0, 12.8))])
    tiles = Incremental(world, [HUMAN], Config(batch_tiles=1, surface_period_s=0.0), clock=Clock(step_s=1.0))
    client, steps = Client(), 0
    while tiles.pending:
        change = tiles.step(budget_s=3.0)
        assert len(change.nav) <= 3
        client.take(change)
        steps += 1
    assert steps > 5
    assert client.state() == batch(world).state()


def test_even_without_a_budget_a_step_gets_on() -> None:
    tiles = Incremental(SdfWorld(room()), [HUMAN], AT_ONCE, clock=Clock(step_s=1.0))
    for _ in range(100):
        if not tiles.pending:
            break
        tiles.step(budget_s=0.0)
    assert tiles.pending == 0


def test_the_tile_nearest_to_a_viewer_comes_first() -> None:
    world = SdfWorld([Box((0.0, -0.3, 0.0), (12.8, 0.0, 12.8))])
    tiles = Incremental(world, [HUMAN], Config(batch_tiles=1), clock=Clock(step_s=1.0))
    viewers = [np.array([11.0, 1.6, 1.0]), np.array([1.0, 1.6, 11.0])]
    first = [tiles.step(viewers, budget_s=1.0) for _ in range(2)]
    assert {change.nav[0].key for change in first} == {TileKey(3, 0), TileKey(0, 3)}
    assert {change.occluder[0].key for change in first} == {TileKey(3, 0), TileKey(0, 3)}


def test_surfaces_keep_to_their_own_rate() -> None:
    clock, world = Clock(), SdfWorld(room())
    tiles = Incremental(world, [HUMAN], Config(surface_period_s=0.5), clock=clock)
    tiles.step()
    clock.now_s = 0.2
    soon = tiles.apply(dirty(world.add(Box((1.2, 0.0, 1.3), (1.6, 0.4, 1.9)))))
    assert soon.nav
    assert not soon.mesh
    assert tiles.pending
    clock.now_s = 0.5
    due = tiles.step()
    assert due.mesh
    assert due.occluder
    assert tiles.pending == 0


def test_the_navmesh_can_go_ahead_of_the_surfaces_and_both_say_when_they_are_due() -> None:
    clock, world = Clock(), SdfWorld(room())
    tiles, client = Incremental(world, [HUMAN], Config(surface_period_s=0.5), clock=clock), Client()
    walkable = tiles.step_nav()
    assert walkable.nav
    assert walkable.mesh == walkable.occluder == ()
    assert (tiles.nav_pending, tiles.wait_s) == (0, 0.0)
    seen = tiles.step_surfaces()
    assert seen.mesh
    assert not seen.nav
    client.take(walkable)
    client.take(seen)
    assert client.state() == batch(world).state()
    assert tiles.wait_s is None
    clock.now_s = 0.2
    tiles.mark(dirty(world.add(Box((1.2, 0.0, 1.3), (1.6, 0.4, 1.9)))))
    assert tiles.wait_s == 0.0
    tiles.step_nav()
    assert tiles.wait_s == pytest.approx(0.3)


def test_a_new_epoch_rebuilds_everything_and_removes_what_is_no_longer_there() -> None:
    world = SdfWorld([Box((0.0, -0.3, 0.0), (3.2, 0.0, 3.2))])
    tiles, client = Incremental(world, [HUMAN], AT_ONCE), Client()
    client.take(tiles.apply(MapChange(epoch=0)))
    world.shapes = [Box((6.4, -0.3, 0.0), (9.6, 0.0, 3.2))]
    moved = Sim3(1.0, np.eye(3), np.array([6.4, 0.0, 0.0]))
    change = tiles.apply(MapChange(epoch=1, new_from_old=moved, reason="loop"))
    client.take(change)
    assert {tile.key: bool(tile.blob) for tile in change.nav} == {TileKey(0, 0): False, TileKey(2, 0): True}
    assert client.state() == batch(world).state()


def test_blocks_that_appear_later_join_the_map() -> None:
    world = SdfWorld([])
    tiles, client = Incremental(world, [HUMAN], AT_ONCE), Client()
    client.take(tiles.step())
    for shape in room():
        client.take(tiles.apply(dirty(world.add(shape))))
    assert client.state() == batch(world).state()


@pytest.mark.parametrize("agents", [[], [HUMAN, HUMAN]])
def test_agents_must_have_names_of_their_own(agents: list[Agent]) -> None:
    with pytest.raises(ValueError, match="agents"):
        Incremental(SdfWorld(), agents, Config())


def test_a_static_scene_seen_again_with_noise_stays_calm() -> None:
    """8 mm of independent noise on every voxel and look: at most 2 % of the tiles may change."""
    world = SdfWorld(room(12.6), noise_m=0.008)
    tiles = Incremental(world, [HUMAN], Config(surfaces=False))
    total = len(tiles.step().nav)
    changed = 0
    for observation in range(1, 6):
        world.observation = observation
        changed += len(tiles.apply(dirty(world.block_keys())).nav)
    assert total >= 16
    assert changed <= 0.02 * total * 5


def all_tiles(change: TileChange) -> Iterator[NavTile | SurfaceTile]:
    yield from change.nav
    yield from change.mesh
    yield from change.occluder


def test_unknown_and_broken_voxels_give_tiles_without_them() -> None:
    world = SdfWorld(room())

    def spoil(tsdf_m: np.ndarray, weight: np.ndarray) -> None:
        tsdf_m[::3] = np.nan
        weight[1::3] = np.inf
        weight[2::3] = np.nan

    world.spoil = spoil
    tiles = Incremental(world, [HUMAN], AT_ONCE)
    for tile in all_tiles(tiles.step()):
        if isinstance(tile, SurfaceTile):
            assert np.isfinite(tile.vertices_m).all()
    assert tiles.pending == 0


def test_an_all_solid_tile_is_empty() -> None:
    world = SdfWorld(room())

    def spoil(tsdf_m: np.ndarray, weight: np.ndarray) -> None:
        tsdf_m[:], weight[:] = -0.1, 1.0

    world.spoil = spoil
    assert not Incremental(world, [HUMAN], AT_ONCE).step().nav
