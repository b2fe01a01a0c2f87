"""Pixels alone, no cue: the marker on the wall gives a served map its metres."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from benchmarks import synthetic
from mapping.metric import markers
from mapping.store.records import SceneMeta
from mapping.store.state import SceneState
from mapping.world_state import WorldState
from server.api.contract import StreamOptions
from server.app import mapping
from server.config import Settings
from server.metrics import Metrics
from server.restart import world_from_state, world_to_plain
from streams.frame import Frame, Image, SceneId, StreamId

MAIN = SceneId("main")
PHONE = StreamId("phone")
FPS = 15
SECONDS = 4.0


async def film() -> AsyncIterator[Frame]:
    """A phone sets out in front of the marker; nothing but pixels and their camera."""
    flat, walk = synthetic.build(), synthetic.walks()[0]
    for i, t in enumerate(np.arange(0.0, SECONDS, 1 / FPS)):
        at_ns = 10**18 + round(t * 1e9)
        view = flat.render(walk.at(t), synthetic.INTRINSICS)
        yield Frame(PHONE, i, at_ns, at_ns, Image(rgb=view.rgb), view.intrinsics)


@pytest.mark.timeout(120)
async def test_a_marker_scales_a_map_that_nobody_gave_a_cue(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data_dir": tmp_path, "engine": {"name": "classical"}})
    async with mapping(settings, Metrics(), MAIN) as (scenes, engine_up):
        await engine_up
        phone = await scenes.replay(MAIN, PHONE, film(), StreamOptions(), is_patient=True)
        await phone.ended
        assert phone.failure is None
        summary = scenes.scene(MAIN)
        assert summary.scale_source == "marker"
        assert summary.scale_sigma is not None
        assert 0 < summary.scale_sigma < 0.05
        assert summary.scale_contradicted_by == []
        assert summary.gravity_sigma_deg is not None


def test_a_declared_marker_is_stored_with_the_world() -> None:
    declared = markers.Config(size_m=0.24, ids=())
    meta = SceneMeta(lineage="l", epoch=0, attributes=world_to_plain(WorldState(declared=declared)))
    assert world_from_state(SceneState(meta=meta)).declared == declared
