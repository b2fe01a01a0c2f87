"""The engine around a network that knows the room, but errs as real ones do: unit, lenses, people, noise."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from mapping.changes import KeyframeId
from mapping.engines import View, ViewPrediction, Window, WindowPrediction
from mapping.scene_map import SceneMap
from mapping.transforms import F64, invert, quat_from_rotation
from streams.frame import Intrinsics
from tests.mapping.engines.vggt.needs import needs_torch
from tests.mapping.room import CHEST, Box, render
from tests.mapping.walking import K, Phone, off_room, surface_error_m

needs_torch()

import torch  # noqa: E402

from mapping.engines.vggt.admission import HostMemory, Memory  # noqa: E402
from mapping.engines.vggt.canvas import Placement, arrange  # noqa: E402
from mapping.engines.vggt.checkpoints.ready import Provenance  # noqa: E402
from mapping.engines.vggt.config import Config  # noqa: E402
from mapping.engines.vggt.engine import VggtEngine  # noqa: E402
from mapping.engines.vggt.passes import Said, Shape  # noqa: E402

SIDE_PX = 154
CONFIG = Config(weights="seeded", architecture="tiny", device="cpu", long_side_px=SIDE_PX)
SEEN = K.scaled(*reversed(arrange([(K.height, K.width)], SIDE_PX)[0].canvas))
"""The camera of what the network sees."""


@dataclass(slots=True)
class Knows:
    """Stands in for `Passes`: what the network would say, if it knew the room and erred as told."""

    room_from_camera: Sequence[F64]
    furniture: dict[int, tuple[Box, ...]] = field(default_factory=dict)
    """What stands in the room when view n is taken; the chest alone otherwise."""
    lens_jitter: float = 0.0
    blind: frozenset[int] = frozenset()
    """Views whose field of view comes out as zero."""
    noise: float = 0.0
    """Relative error of depth in the left half; a fifth of it in the right one."""
    seed: int = 0
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    memory: Memory = field(default_factory=HostMemory)
    forgotten: int = 0

    def encode(self, rgb: list[NDArray[np.uint8]], places: list[Placement]) -> torch.Tensor:
        return torch.stack([torch.full((4, 2), float(picture[0, 0, 0])) for picture in rgb])

    def forget(self) -> None:
        self.forgotten += 1

    def needs_no_memory(self, shape: Shape) -> bool:
        return False

    def ask(self, patches: torch.Tensor, shape: Shape) -> list[Said]:
        return [self.say(window, shape.depths) for window in patches]

    def say(self, patches: torch.Tensor, depths: int) -> Said:
        """In the first camera's frame and in a unit that is another one each time."""
        numbers = [int(n) for n in patches[:, 0, 0]]
        rng = np.random.default_rng([self.seed, *numbers])
        first, unit = invert(self.room_from_camera[numbers[0]]), float(rng.uniform(0.3, 3.0))
        encodings = []
        for n in numbers:
            camera_from_first = invert(first @ self.room_from_camera[n])
            w, x, y, z = quat_from_rotation(camera_from_first[:3, :3])
            fov = 2 * np.arctan([SEEN.height / (2 * SEEN.fy), SEEN.width / (2 * SEEN.fx)])
            fov = fov * (1 + self.lens_jitter * rng.normal(size=2)) * (n not in self.blind)
            encodings.append([*camera_from_first[:3, 3] * unit, x, y, z, w, *fov])
        share = np.where(np.arange(SEEN.width) < SEEN.width // 2, self.noise, self.noise / 5)
        depth = [
            render(self.room_from_camera[n], SEEN, self.furniture.get(n, (CHEST,)))[1]
            * unit
            * (1 + share * rng.normal(size=(SEEN.height, SEEN.width)))
            for n in numbers[-depths:]
        ]
        certainty = np.broadcast_to(np.where(share == self.noise, 4.0, 20.0), np.shape(depth))
        descriptor = np.ones(2, np.float32) / np.sqrt(2)
        return Said(*(np.asarray(a, np.float32) for a in (encodings, depth, certainty, descriptor)))


def engine_of(network: Knows, **config: object) -> VggtEngine:
    return VggtEngine(CONFIG.model_copy(update=config), network, Provenance("known", "none", ""))  # type: ignore[arg-type]


def picture(n: int) -> NDArray[np.uint8]:
    return np.full((K.height, K.width, 3), n, np.uint8)


def view(phone: Phone, room_from_camera: F64, n: int, *, lens: Intrinsics | None = K, landmarks: int = 60) -> View:
    """What the tracker says of the n-th view, in the phone's own frame and unit."""
    _, depth = render(room_from_camera, K)
    rng = np.random.default_rng(n)
    u, v = rng.integers(0, [[K.width], [K.height]], (2, landmarks))
    rays = np.stack([(u + 0.5 - K.cx) / K.fx, (v + 0.5 - K.cy) / K.fy, np.ones(landmarks)], axis=-1)
    points = (rays * depth[v, u, None]) @ room_from_camera[:3, :3].T + room_from_camera[:3, 3]
    points = phone.component_from_room.apply(points).astype(np.float32)
    pose = phone.component_from_room.apply_pose(room_from_camera)
    return View(KeyframeId(f"{phone.stream}/{n}"), picture(n), lens, pose, points)


def truth(phone: Phone, room_from_camera: F64, camera: Intrinsics = SEEN) -> NDArray[np.float32]:
    return render(room_from_camera, camera)[1] * np.float32(phone.component_from_room.scale)


def depth_of(answer: ViewPrediction) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    assert answer.depth is not None
    assert answer.confidence is not None
    return answer.depth, answer.confidence


@pytest.mark.parametrize("landmarks", [60, 0], ids=["landmarks", "baseline"])
def test_whatever_the_network_s_unit_depth_has_the_tracker_s(landmarks: int) -> None:
    phone = Phone("a", unit=0.37)
    poses = phone.poses(6)
    engine = engine_of(Knows(poses))
    for newest in range(2, 6):
        views = [view(phone, poses[n], n, landmarks=landmarks) for n in range(newest - 2, newest + 1)]
        depth, sure = depth_of(engine.predict(Window(tuple(views))).views[-1])
        off = np.abs(depth / truth(phone, poses[newest]) - 1)[depth > 0]
        assert len(off) > 0.95 * depth.size, "edges may be doubted, surfaces are not"
        assert np.median(off) < 0.005
        assert np.median(sure) > 0.9


def test_a_phone_has_one_lens_however_the_network_s_guesses_jitter() -> None:
    phone = Phone("a")
    poses = phone.poses(9)
    network = Knows(poses, lens_jitter=0.05, blind=frozenset({2, 5}))
    views = [replace(view(phone, pose, n), intrinsics=None) for n, pose in enumerate(poses)]
    found = engine_of(network).predict(Window(tuple(views))).views
    lenses = {answer.intrinsics for answer in found}
    assert len(lenses) == 1
    assert lenses.pop().fx == pytest.approx(SEEN.fx, rel=0.04), "one guess alone is off by twice as much"
    given = engine_of(network).predict(Window(tuple(view(phone, pose, n) for n, pose in enumerate(poses)))).views
    assert given[-1].intrinsics == SEEN, "what is known counts more than guesses"


def test_fields_of_view_of_zero_everywhere_still_give_a_usable_camera() -> None:
    phone = Phone("a")
    poses = phone.poses(3)
    views = [replace(view(phone, pose, n), intrinsics=None) for n, pose in enumerate(poses)]
    last = engine_of(Knows(poses, blind=frozenset(range(3)))).predict(Window(tuple(views))).views[-1]
    assert np.isfinite([last.intrinsics.fx, last.intrinsics.fy]).all()


PERSON: Box = ((-0.35, 0.0, -0.6), (0.15, 1.7, -0.3))


def test_who_walks_through_the_picture_is_left_out() -> None:
    phone = Phone("a")
    poses = phone.poses(4)
    network = Knows(poses, furniture={3: (CHEST, PERSON)})
    views = tuple(view(phone, pose, n) for n, pose in enumerate(poses))
    depth, sure = depth_of(engine_of(network).predict(Window(views)).views[-1])
    empty, crowded = (render(poses[3], SEEN, things)[1] for things in ((CHEST,), (CHEST, PERSON)))
    person = crowded < empty
    assert person.mean() > 0.05
    assert (depth[person] > 0).mean() < 0.1, "feet stand near what lies behind them"
    assert (sure[person] > 0.5).mean() < 0.05
    assert (depth[~person] > 0).mean() > 0.85
    trusting, _ = depth_of(engine_of(network, checks=0).predict(Window(views)).views[-1])
    assert (trusting[person] > 0).mean() > 0.9, "without other views nothing tells"


def test_who_left_leaves_no_hole() -> None:
    phone = Phone("a")
    poses = phone.poses(4)
    network = Knows(poses, furniture=dict.fromkeys(range(3), (CHEST, PERSON)))
    views = tuple(view(phone, pose, n) for n, pose in enumerate(poses))
    depth, _ = depth_of(engine_of(network).predict(Window(views)).views[-1])
    assert (depth > 0).mean() > 0.95


@pytest.mark.parametrize("noise", [0.02, 0.05, 0.15])
def test_confidence_is_worth_what_it_says(noise: float) -> None:
    """With and without landmarks: half-sure pixels are as wrong as the tolerance, and surer ones are less wrong."""
    phone = Phone("a")
    poses = phone.poses(4)
    for landmarks in (120, 0):
        views = tuple(view(phone, pose, n, landmarks=landmarks) for n, pose in enumerate(poses))
        depth, sure = depth_of(engine_of(Knows(poses, noise=noise), min_confidence=0).predict(Window(views)).views[-1])
        off = np.abs(depth / truth(phone, poses[-1]) - 1)
        left, right = np.s_[:, : SEEN.width // 2], np.s_[:, SEEN.width // 2 :]
        known = depth > 0
        assert np.median(sure[right]) > np.median(sure[left])
        assert np.median(off[known & (sure > 0.5)]) < CONFIG.error_tolerance
        if noise > 2 * CONFIG.error_tolerance:
            assert np.median(sure[left]) < 0.5


def test_scale_and_up_are_the_map_s_own_whatever_the_network_says() -> None:
    """Two maps of one walk, whose networks have other units: they are one map, and know as little of metres."""
    scenes = []
    for seed in (0, 1):
        phone, scene = Phone("a", unit=0.8), SceneMap()
        poses = phone.poses(10)
        engine = engine_of(Knows(poses, seed=seed))
        views: list[View] = []
        for n, pose in enumerate(poses):
            tracked, frame, _ = phone.sees(pose)
            views.append(view(phone, pose, n))
            scene.observe(tracked, frame)
            scene.place(tracked, frame, engine.predict(Window(tuple(views[-8:]))))
            scene.fuse()
        assert scene.status.scale_source == "none"
        assert scene.status.gravity_source in ("motion", "planes")
        world_from_room = off_room(scene, phone)
        assert (world_from_room.rotation @ [0, 1, 0])[1] > np.cos(np.radians(1))
        assert surface_error_m(scene, world_from_room) < 0.03
        scenes.append(world_from_room)
    np.testing.assert_allclose(scenes[0].matrix(), scenes[1].matrix(), rtol=0.01, atol=0.01)


def test_a_window_that_keeps_no_frame_of_its_own_is_aligned_by_the_baseline() -> None:
    """Without priors the answer is the network's frame; the map brings it to the tracker's, as for any engine."""
    phone, scene = Phone("a", unit=0.6), SceneMap()
    poses = phone.poses(8)
    engine = engine_of(Knows(poses))
    views: list[View] = []
    for n, pose in enumerate(poses):
        tracked, frame, _ = phone.sees(pose)
        views.append(replace(view(phone, pose, n), prior_window_from_camera=None, landmarks_window=None))
        scene.observe(tracked, frame)
        if n < 2:
            scene.place(tracked, frame, phone_says(phone, pose, n))
        else:
            scene.place(tracked, frame, engine.predict(Window(tuple(views[-6:]))))
        scene.fuse()
    assert surface_error_m(scene, off_room(scene, phone)) < 0.03


def phone_says(phone: Phone, room_from_camera: F64, n: int) -> WindowPrediction:
    """Exact depth for the first keyframes, of which nobody knows the baseline yet."""
    pose = phone.component_from_room.apply_pose(room_from_camera)
    depth = truth(phone, room_from_camera, K)
    return WindowPrediction((ViewPrediction(KeyframeId(f"a/{n}"), pose, K, depth, np.ones_like(depth)),))
