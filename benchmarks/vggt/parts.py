"""The parts of the GPU's benchmark: ours beside the plain published forward, each a method that tells what it knows."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.vggt.load import loaded
from benchmarks.vggt.parity import GOLDENS, compare
from benchmarks.vggt.plain import Plain
from benchmarks.vggt.probe import waves
from benchmarks.vggt.random import gigabytes, random_network, scale_factors
from benchmarks.vggt.timing import OutOfTime, settle, timed, why
from mapping.changes import KeyframeId
from mapping.engines import View, Window
from mapping.engines.vggt.checkpoints.ready import Provenance, blank
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.engine import VggtEngine
from mapping.engines.vggt.model.architecture import PATCH_PX, VGGT_1B, Architecture
from mapping.engines.vggt.model.precision import whole_float32
from mapping.engines.vggt.model.vggt import Vggt
from mapping.engines.vggt.passes import Passes, Shape
from server.generation.gate import GateMemory, Perception

_SMALL = Architecture(
    width=64, heads=2, encoder_depth=1, depth=4, feature_layers=(0, 1, 2, 3), camera_heads=2, camera_depth=1,
    dense_width=16, dense_channels=(8, 8, 8, 8),
)  # fmt: skip

Load = Callable[[GateMemory | None], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured; the defaults are those of one large GPU."""

    architecture: Architecture = VGGT_1B
    device: str = "cuda"
    views: tuple[int, ...] = (8, 16, 50, 1, 20, 2, 4, 10, 100)
    sizes: tuple[tuple[int, int], ...] = ((392, 518), (518, 518))
    """Of the network's images, (height, width)."""
    rolling: int = 16
    keyframes: int = 100
    """New ones in a rolling window, for its percentiles."""
    picture: tuple[int, int] = (720, 960)
    together: tuple[int, ...] = (1, 2, 4)
    thinned: tuple[int, ...] = (32, 50)
    load_size: int = 4096
    most_runs: int = 5


class Parts:
    """Measures until `has_time` says no more."""

    def __init__(self, plan: Plan, has_time: Callable[[], bool], load: Load | None = None) -> None:
        """`load` keeps the device busy from another process; None = as `load` does."""
        self.plan, self._has_time = plan, has_time
        self._load = load or (lambda gate: loaded(plan.device, plan.load_size, gate))
        self._device = torch.device(plan.device)

    def measured(self, part: str) -> Iterator[Any]:
        """What is known of a part so far, again and again; at the end perhaps why it is not more."""
        known: Any = {}
        try:
            with torch.inference_mode():
                for known in getattr(self, part)():
                    yield known
        except Exception as error:  # nobody is there to look
            yield {"known": known, "stopped": why(error)} if known else why(error)

    def streaming(self) -> Iterator[dict[str, Any]]:
        """What phones see of it: from a new picture to its depth on the host, all others of its window being known."""
        began = time.perf_counter()
        told: dict[str, Any] = {"device": self._name, "views": self.plan.rolling}
        self._engine.predict(self._walk(0)(0))
        told["warm_up_s"] = time.perf_counter() - began
        for part in (self.rolling, self.together, self.under_load):
            try:
                for known in part():
                    told[part.__name__] = known
                    yield told
            except Exception as error:  # the others still count
                told[f"{part.__name__}_stopped"] = why(error)
                yield told

    def rolling(self) -> Iterator[dict[str, Any]]:
        """One phone, the device being its own."""
        yield self._keyframes()

    def together(self) -> Iterator[dict[str, Any]]:
        """Keyframes a second of so many phones whose windows are asked at once."""
        told: dict[str, Any] = {}
        for phones in self.plan.together:
            walks = [self._walk(phone) for phone in range(phones)]
            seconds = []
            for n in range(1 + max(1, self.plan.keyframes // 4)):
                windows = [walk(n) for walk in walks]
                began = time.perf_counter()
                answers = self._engine.predict_together(windows)
                if failed := [answer for answer in answers if isinstance(answer, Exception)]:
                    raise failed[0]
                if n:  # the first has a whole window to encode
                    seconds.append(time.perf_counter() - began)
                if not self._has_time():
                    break
            if not seconds:
                raise OutOfTime
            told[str(phones)] = {"keyframes_s": phones * len(seconds) / sum(seconds), "runs": len(seconds)}
            yield told

    def under_load(self) -> Iterator[dict[str, Any]]:
        """One phone while another process computes without end: beside it, and behind the gate."""
        told = {}
        with self._load(None):
            told["beside"] = self._keyframes()
        yield told
        gate = GateMemory.create()
        try:
            with self._load(gate):
                told["behind_gate"] = self._keyframes(Perception(gate))
        finally:
            gate.close()
        yield told

    def windows(self) -> Iterator[dict[str, Any]]:
        """Windows of which every view is new and every view gets depth (plain: and points), ours and plain."""
        trunks = ("aggregator.",)
        told: dict[str, Any] = {
            "weights_gb": {
                "ours": gigabytes(self._ours), "ours_trunk": gigabytes(self._ours, trunks),
                "plain": gigabytes(self._plain), "plain_trunk": gigabytes(self._plain, trunks),
            },
            "rows": [],
        }  # fmt: skip
        for size in self.plan.sizes:
            for views in self.plan.views:
                row: dict[str, Any] = {"views": views, "size": list(size)}
                told["rows"].append(row)
                for name in ("ours", "plain", "ours_trunk", "plain_trunk"):
                    row[name] = self._tried(partial(self._run, name, views, size))
                    yield told
                for kind in ("", "_trunk"):
                    row |= _beside(f"ours{kind}", f"plain{kind}", row, told["weights_gb"])
                yield told

    def outputs(self) -> Iterator[dict[str, Any]]:
        """How far ours, as it runs, is from float32, and how far plain is: with factors of blocks near 1, where each
        layer makes more of a rounding, and at 0.01, where training begins."""
        height, width = self.plan.sizes[0]
        grid = (height // PATCH_PX, width // PATCH_PX)
        images = torch.from_numpy(waves(4, height, width)).to(self._device)
        told = {}
        for name, factor in (("factors_1", 1.0), ("factors_0.01", 0.01)):
            for network in (self._plain, self._ours):
                scale_factors(network, factor)
            with whole_float32():
                features = self._plain.aggregate(self._plain.encode(images)[None], grid)
                exact = self._plain.cameras(features)[-1, 0], self._plain.depth(features, grid, last=4).z[0]
            shape = Shape(1, 4, grid, 4)
            encodings, z, _, _ = Passes(self._ours, Config(replayed=0)).answer(self._ours.encode(images)[None], shape)
            plain = Plain(self._plain)(images)
            told[name] = {
                "ours": _apart((encodings[0], z[0]), exact),
                "plain": _apart((plain["encodings"], plain["depth"]), exact),
            }
            yield told

    def thinned(self) -> Iterator[list[dict[str, Any]]]:
        """Long windows whose views look at a quarter of each other's patches: seconds, and what that changes."""
        rows: list[dict[str, Any]] = []
        for views in self.plan.thinned:
            images = torch.from_numpy(waves(views, *self.plan.sizes[0])).to(self._device)
            patches, shape = self._encoded(images)[None], self._shape(views, self.plan.sizes[0], depths=1)
            exact, thin = (Passes(self._ours, Config(replayed=0, thin_above=t)) for t in (None, views - 1))
            a, b = exact.answer(patches, shape), thin.answer(patches, shape)
            row = {"views": views, **_apart((b[0][0], b[1][0]), (a[0][0], a[1][0]))}
            rows.append(row)
            for name, passes in (("exact", exact), ("thinned", thin)):
                row[name] = self._tried(partial(partial, passes.answer, patches, shape))
                yield rows

    def golden(self) -> Iterator[dict[str, Any]]:
        """Ours in float32 on this device beside stored outputs of the published network: tiny ones."""
        yield {path.name: compare("tiny", path, device=self._device) for path in sorted(GOLDENS.glob("vggt_tiny*.npz"))}

    def golden_1b(self) -> Iterator[dict[str, Any]]:
        """Likewise, of full size."""
        yield {path.name: compare("1b", path, device=self._device) for path in sorted(GOLDENS.glob("vggt_1b*.npz"))}

    @cached_property
    def _plain(self) -> Vggt:
        return random_network(self.plan.architecture, self._device)

    @cached_property
    def _ours(self) -> Vggt:
        short = torch.bfloat16 if self._device.type == "cuda" else torch.float32
        network = blank(self.plan.architecture, self._device, short)
        network.load_state_dict({name: self._plain.state_dict()[name] for name in network.state_dict()})
        return network

    @cached_property
    def _engine(self) -> VggtEngine:
        """Warm, and alone on the device."""
        plan = self.plan
        config = Config(
            warm_views=plan.rolling, warm_sizes=(plan.picture,), long_side_px=max(plan.sizes[0]), min_confidence=0,
            together=max(plan.together),
        )  # fmt: skip
        engine = VggtEngine(config, Passes(self._ours, config), Provenance("random", "none", ""))
        del self._plain
        engine.warm_up()
        return engine

    def _walk(self, phone: int) -> Callable[[int], Window]:
        """Its n-th window: `rolling` pictures, of which one is new."""
        height, width = self.plan.picture
        noise = np.random.default_rng(phone).integers(0, 255, (height, width, 3), np.uint8)

        def window(n: int) -> Window:
            names = range(n, n + self.plan.rolling)
            return Window(tuple(View(KeyframeId(f"{phone}/{k}"), np.roll(noise, k, axis=1), None) for k in names))

        return window

    def _keyframes(self, gate: Perception | None = None) -> dict[str, Any]:
        """Keyframes of one phone, each asked for when the one before was answered."""
        engine, walk, seconds = self._engine, self._walk(0), list[float]()
        engine.tokens.clear()
        engine.predict(walk(0))
        before = engine.tokens.encoded
        for n in range(1, 1 + self.plan.keyframes):
            window = walk(n)
            settle(self._device)
            began = time.perf_counter()
            with gate.closed() if gate is not None else nullcontext():
                engine.predict(window)
            seconds.append(time.perf_counter() - began)
            if not self._has_time():
                break
        p50, p95, p99, most = (float(p) * 1e3 for p in np.percentile(seconds, [50, 95, 99, 100]))
        return {
            "keyframes": len(seconds), "encoded": engine.tokens.encoded - before, "p50_ms": p50, "p95_ms": p95,
            "p99_ms": p99, "max_ms": most, "keyframes_s": len(seconds) / sum(seconds),
        }  # fmt: skip

    def _run(self, name: str, views: int, size: tuple[int, int]) -> Callable[[], object]:
        """One of the things to be timed; nothing of what it does leaves the device."""
        images = torch.rand(views, 3, *size, device=self._device)
        if name.startswith("plain"):
            plain = Plain(self._plain)
            return partial(plain.trunk if name == "plain_trunk" else plain, images)
        passes, shape = Passes(self._ours, Config()), self._shape(views, size, depths=views)

        def trunk(images: Tensor) -> tuple[Tensor, ...]:
            return (self._ours.aggregate(self._encoded(images)[None], shape.grid).cameras,)

        def whole() -> object:
            tokens = torch.cat([passes.tokens(some) for some in torch.split(images, 8)])
            return passes.answer(tokens[None], shape)

        return partial(passes.replays, "trunk", trunk, images) if name == "ours_trunk" else whole

    def _encoded(self, images: Tensor) -> Tensor:
        return torch.cat([self._ours.encode(some) for some in torch.split(images, 8)])

    def _shape(self, views: int, size: tuple[int, int], depths: int) -> Shape:
        return Shape(1, views, (size[0] // PATCH_PX, size[1] // PATCH_PX), depths)

    def _tried(self, made: Callable[[], Callable[[], object]]) -> Any:
        """The timing of what is made, or why there is none."""
        try:
            return asdict(timed(made(), self._device, self.plan.most_runs, self._has_time))
        except Exception as error:  # the other rows still count
            return why(error)

    @property
    def _name(self) -> str:
        return torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else "cpu"


def tiny_plan() -> Plan:
    """The same steps in seconds on a CPU: what is measured means nothing, that it runs does."""
    return Plan(
        architecture=_SMALL, device="cpu", views=(1, 2), sizes=((42, 56),), rolling=2, keyframes=2, picture=(42, 56),
        together=(1, 2), thinned=(3,), load_size=64, most_runs=1,
    )  # fmt: skip


def _apart(found: tuple[Tensor, Tensor], exact: tuple[Tensor, Tensor]) -> dict[str, Any]:
    """Largest difference of poses (views, 9), and relative differences of depth (n, height, width)."""
    (pose, z), (true_pose, true_z) = found, exact
    off = ((z - true_z).abs() / true_z.abs().clamp_min(1e-6)).flatten().float().cpu().numpy()
    p50, p90, p99 = (float(p) for p in np.percentile(off, [50, 90, 99]))
    return {
        "pose_abs": float((pose - true_pose)[:, :7].abs().max()),
        "depth_rel": {"p50": p50, "p90": p90, "p99": p99},
        "weights": "random",
    }


def _beside(ours: str, plain: str, row: dict[str, Any], weights_gb: dict[str, float]) -> dict[str, float]:
    """How many times faster one of two timings is, and what share of the other's memory it needs, weights included."""
    if isinstance(row[ours], str) or isinstance(row[plain], str):
        return {}
    told = {f"{ours}_times_faster": row[plain]["seconds"] / row[ours]["seconds"]}
    if row[ours]["reserved_gb"] is not None:
        mine, theirs = (weights_gb[name] + row[name]["reserved_gb"] for name in (ours, plain))
        told[f"{ours}_memory_share"] = mine / theirs
    return told
