"""What a GPU makes of it: ours beside the plain published forward in one run, unattended and within a time limit.

Weights are random: timings do not depend on them. What there was no time or memory for says so in the report.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.vggt_load import loaded
from benchmarks.vggt_plain import Plain
from benchmarks.vggt_probe import waves
from mapping.changes import KeyframeId
from mapping.engines import View, Window
from mapping.engines.vggt.checkpoints.ready import Provenance
from mapping.engines.vggt.config import Config
from mapping.engines.vggt.engine import VggtEngine
from mapping.engines.vggt.model.architecture import PATCH_PX, TINY, VGGT_1B, Architecture
from mapping.engines.vggt.model.vggt import Vggt
from mapping.engines.vggt.passes import Passes
from server.generation.gate import GateMemory, Perception

PUBLISHED = {1: (0.04, 1.88), 8: (0.11, 3.23), 20: (0.31, 5.58), 50: (1.04, 11.4), 100: (3.12, 21.15)}
"""Seconds and GB of the published trunk on one H100 with FlashAttention 3, by views."""

Load = Callable[[GateMemory | None], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Plan:
    """What is measured; the defaults are those of one large GPU."""

    architecture: Architecture = VGGT_1B
    device: str = "cuda"
    views: tuple[int, ...] = (1, 8, 16, 2, 4, 10, 20, 50, 100)
    sizes: tuple[tuple[int, int], ...] = ((392, 518), (518, 518))
    """Of the network's images, (height, width)."""
    rolling: int = 16
    keyframes: int = 60
    """New ones in a rolling window, for its percentiles."""
    picture: tuple[int, int] = (720, 960)
    thinned: tuple[int, ...] = (32, 50)
    load_size: int = 4096
    budget_s: float = 420.0
    most_repeats: int = 5


@dataclass(slots=True)
class Bench:
    """One run of a plan. Each part of the report is made by a method of its name."""

    plan: Plan
    load: Load | None = None
    """Keeps the device busy from another process; None = as `vggt_load` does."""
    clock: Callable[[], float] = time.monotonic
    _plain: Vggt = field(init=False)
    _ours: Vggt = field(init=False)
    _engine: VggtEngine | None = None
    _until: float = field(init=False)

    def run(self) -> dict[str, Any]:
        self._until = self.clock() + self.plan.budget_s
        self._plain = random_network(self.plan)
        self._ours = Vggt(self.plan.architecture).to(self._device, self._dtype).eval().requires_grad_(False)
        self._ours.load_state_dict(self._plain.state_dict(), strict=False)
        parts = (self.rolling, self.outputs, self.under_load, self.windows, self.thinned)
        report: dict[str, Any] = {"device": self._name, "dtype": str(self._dtype), "published_h100": PUBLISHED}
        with torch.inference_mode():
            for part in parts:
                report[part.__name__] = self._tried(part)
        return report

    def rolling(self) -> dict[str, Any]:
        """From a new picture to its depth on the host, all others of its window being known."""
        return self._keyframes(nullcontext())

    def under_load(self) -> dict[str, Any]:
        """The same while another process computes without end: beside it, and behind the gate."""
        load = self.load or (lambda gate: loaded(self.plan.device, self.plan.load_size, gate))
        gate = GateMemory.create()
        raised = Perception(gate)
        with load(None):
            beside = self._keyframes(nullcontext())
        with load(gate):
            behind = self._keyframes(nullcontext(), raised)
        gate.close()
        return {"beside": beside, "behind_gate": behind}

    def windows(self) -> list[dict[str, Any]]:
        """Windows of which every view is new and every view gets depth, ours and plain."""
        rows = []
        for size in self.plan.sizes:
            for views in self.plan.views:
                row: dict[str, Any] = {"views": views, "size": list(size)}
                images = torch.rand(views, 3, *size, device=self._device)
                plain, passes = Plain(self._plain), Passes(self._ours, Config(max_views=views, checks=views - 1))
                grid = (size[0] // PATCH_PX, size[1] // PATCH_PX)
                runs: dict[str, Callable[[], object]] = {
                    "ours_trunk": partial(self._trunk, images, grid),
                    "plain_trunk": partial(plain.trunk, images),
                    "ours": partial(self._whole, passes, images, grid),
                    "plain": partial(plain, images),
                }
                row |= {name: self._tried(partial(self._timed, run)) for name, run in runs.items()}
                rows.append(row)
        return rows

    def outputs(self) -> dict[str, Any]:
        """How far ours, as it runs, is from float32: largest difference of poses, of depth the 99th percentile."""
        height, width = self.plan.sizes[0]
        grid = (height // PATCH_PX, width // PATCH_PX)
        images = torch.from_numpy(waves(4, height, width)).to(self._device)
        exact = self._plain.aggregate(self._plain.encode(images)[None], grid)
        found = self._ours.aggregate(self._ours.encode(images)[None], grid)
        pose, ours = (n.cameras(f)[-1, 0, :, :7] for n, f in ((self._plain, exact), (self._ours, found)))
        z, our_z = (n.depth(f, grid, last=4).z for n, f in ((self._plain, exact), (self._ours, found)))
        return {"pose_abs": float((pose - ours).abs().max()), "depth_rel_p99": _p99_rel(our_z, z), "weights": "random"}

    def thinned(self) -> list[dict[str, Any]]:
        """Long windows whose views look at a quarter of each other's patches: seconds, and what that changes."""
        rows = []
        height, width = self.plan.sizes[0]
        grid = (height // PATCH_PX, width // PATCH_PX)
        for views in self.plan.thinned:
            images = torch.from_numpy(waves(views, height, width)).to(self._device)
            patches = self._encoded(images)[None]
            exact, thin = (Passes(self._ours, Config(replayed=0, thin_above=t)) for t in (None, views - 1))
            a, b = exact._ask(patches, grid, 1), thin._ask(patches, grid, 1)
            rows.append(
                {
                    "views": views,
                    "exact": self._timed(partial(exact._ask, patches, grid, 1)),
                    "thinned": self._timed(partial(thin._ask, patches, grid, 1)),
                    "pose_abs": float((a[0][..., :7] - b[0][..., :7]).abs().max()),
                    "depth_rel_p99": _p99_rel(b[1], a[1]),
                    "weights": "random",
                }
            )
        return rows

    def _keyframes(self, during: AbstractContextManager[None], gate: Perception | None = None) -> dict[str, Any]:
        plan = self.plan
        if self._engine is None:
            config = Config(warm_views=plan.rolling, long_side_px=max(plan.sizes[0]), min_confidence=0)
            self._engine = VggtEngine(config, Passes(self._ours, config), Provenance("random", "none", ""))
            self._engine.warm_up()
        engine = self._engine
        engine.tokens.clear()
        views = [_view(n, *plan.picture) for n in range(plan.rolling + plan.keyframes)]
        engine.predict(Window(tuple(views[: plan.rolling])))
        seconds = []
        with during:
            for n in range(plan.rolling, len(views)):
                window = Window(tuple(views[n + 1 - plan.rolling : n + 1]))
                began = time.perf_counter()
                with gate.closed() if gate is not None else nullcontext():
                    engine.predict(window)
                seconds.append(time.perf_counter() - began)
                self._check_time()
        p50, p95, p99 = np.percentile(seconds, [50, 95, 99]).tolist()
        return {"views": plan.rolling, "p50_ms": p50 * 1e3, "p95_ms": p95 * 1e3, "p99_ms": p99 * 1e3}

    def _encoded(self, images: Tensor) -> Tensor:
        return torch.cat([self._ours.encode(some) for some in torch.split(images, 8)])

    def _trunk(self, images: Tensor, grid: tuple[int, int]) -> None:
        self._ours.aggregate(self._encoded(images)[None], grid)

    def _whole(self, passes: Passes, images: Tensor, grid: tuple[int, int]) -> None:
        passes.ask(self._encoded(images)[None], grid, len(images))

    def _timed(self, run: Callable[[], object]) -> dict[str, Any]:
        """Median seconds of some runs after two, and the device's peak memory, weights included and apart."""
        self._check_time()
        held = torch.cuda.memory_allocated() if self._is_cuda else 0
        if self._is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = []
        for _ in range(2 + self.plan.most_repeats):
            began = time.perf_counter()
            run()
            if self._is_cuda:
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - began)
            if sum(seconds[2:]) > 2.0:  # the first two warm up and record
                break
        warm = sorted(seconds[2:] or seconds[-1:])
        peak = torch.cuda.max_memory_allocated() if self._is_cuda else None
        return {
            "seconds": warm[len(warm) // 2],
            "peak_gb": None if peak is None else peak / 1e9,
            "peak_gb_without_weights": None if peak is None else (peak - held) / 1e9,
        }

    def _tried(self, part: Callable[[], Any]) -> Any:
        """What it measures, or why it could not."""
        try:
            return part()
        except OutOfTime:
            return "not measured: out of time"
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            return "not measured: out of memory"
        except Exception as error:  # nobody is there to look: the other parts still count
            return f"not measured: {type(error).__name__}: {error}"

    def _check_time(self) -> None:
        if self.clock() > self._until:
            raise OutOfTime

    @property
    def _device(self) -> torch.device:
        return torch.device(self.plan.device)

    @property
    def _is_cuda(self) -> bool:
        return self._device.type == "cuda"

    @property
    def _dtype(self) -> torch.dtype:
        return torch.bfloat16 if self._is_cuda else torch.float32

    @property
    def _name(self) -> str:
        return torch.cuda.get_device_name() if self._is_cuda else "cpu"


class OutOfTime(Exception):
    """The plan's time is over."""


def random_network(plan: Plan) -> Vggt:
    """With its point head, float32, filled on the device by the rule of the seeded weights."""
    device = torch.device(plan.device)
    with torch.device("meta"):
        network = Vggt(plan.architecture, has_points=True)
    network = network.to_empty(device=device).eval().requires_grad_(False)
    generator = torch.Generator(device).manual_seed(0)
    for name, tensor in network.state_dict().items():
        x = torch.randn(tensor.shape, generator=generator, device=device)
        if "token" in name or "pos_embed" in name:
            tensor.copy_(0.5 * x)
        elif tensor.dim() >= 2:
            tensor.copy_(x / math.sqrt(math.prod(tensor.shape[1:])))
        else:
            tensor.copy_(0.1 * x + (1 if name.endswith((".weight", ".gamma")) else 0))
    return network


def tiny_plan() -> Plan:
    """The same steps in seconds on a CPU: what is measured means nothing, that it runs does."""
    return Plan(
        architecture=TINY, device="cpu", views=(1, 2), sizes=((56, 70),), rolling=3, keyframes=2, picture=(48, 60),
        thinned=(4,), load_size=64, most_repeats=1,
    )  # fmt: skip


def _view(n: int, height: int, width: int) -> View:
    return View(KeyframeId(f"bench/{n}"), np.random.default_rng(n).integers(0, 255, (height, width, 3), np.uint8), None)


def _p99_rel(found: Tensor, exact: Tensor) -> float:
    off = ((found - exact).abs() / exact.abs().clamp_min(1e-6)).flatten().float().cpu().numpy()
    return float(np.percentile(off, 99))
