"""The learned engine where it runs: in a worker process, through shared memory, as the scene asks it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mapping.engines import Window
from mapping.windows import WindowPolicy
from server.workers.pool import Config, Pool
from streams.frame import StreamId
from tests import contracts
from tests.mapping.engines.vggt.needs import needs_torch
from tests.server.workers.pools import FAST

needs_torch()

TINY = {"weights": "seeded", "architecture": "tiny", "device": "cpu", "long_side_px": 98, "min_confidence": 0}
STREAM = StreamId("s")


async def test_a_window_goes_there_and_what_it_looks_like_comes_back() -> None:
    process = FAST.model_copy(update={"threads": 1, "heartbeat_timeout_s": 60.0, "job_timeout_s": 120.0})
    pool = Pool(Config(process=process), "vggt", TINY)
    await pool.start()
    policy, walk = WindowPolicy(pool.windows), (STREAM, 0)
    for n in range(3):
        asked = contracts.window(*range(n + 1))
        names = [view.keyframe for view in asked.views]
        assert policy.choose(walk, names[-1]) == tuple(names)
        newest = (await pool.predict(STREAM, asked)).views[-1]
        assert newest.depth is not None
        assert newest.depth.shape == (70, 98)
        assert newest.descriptor is not None
        assert abs(np.linalg.norm(newest.descriptor) - 1) < 1e-3
        policy.describe(walk, newest.keyframe, newest.descriptor)
    other = replace(contracts.view(9, stream="other"), prior_window_from_camera=None, landmarks_window=None)
    first, *rest = contracts.window(0, 1, 2).views
    answers = (await pool.predict(STREAM, Window((first, other, *rest)))).views
    assert [view.keyframe for view in answers] == [first.keyframe, other.keyframe, *(view.keyframe for view in rest)]
    own = np.array([view.own_from_camera for view in answers])
    assert own.shape == (4, 4, 4), "where the engine itself sees every camera, whatever priors say"
    assert np.isfinite(own).all()
    assert pool.provenance == {"engine": "vggt", "weights": "seeded", "licence": "none", "sha256": ""}
    await pool.close()
