"""One real thing out of the live map, textured, metric and in its place; a stand-in of one keyframe is there at once.

Params: `keyframe` (its name; the first one if left out) and there either `click` [u, v] or `box` [left, top, right,
bottom] in pixels; or a file `mask` of that keyframe. `height_px`/`width_px` are the size those pixels are of, if it is
not the keyframe's own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.generation.handing import STAGES, budget, check, get_ready, hand_over, stand_in
from server.generation.provider import Context, Description, GenerationFailed, Licence, Request, Result, Stage

if TYPE_CHECKING:
    from mapping.objects.mesh import F64
    from server.generation.keyframes import Keyframes

_WEIGHTS = {"stand-in": 1.0, "poses": 3.0, "masks": 4.0, "carve": 2.0, "unwrap": 2.0, "bake": 2.0, "check": 1.0}


class Capture:
    """Fulfils `server.generation.provider.Provider`."""

    def describe(self) -> Description:
        return Description(
            name="capture",
            revision="1",
            licence=Licence("Apache-2.0"),
            inputs=("keyframes", "mask"),
            stages=(*(Stage(name, weight) for name, weight in _WEIGHTS.items()), *STAGES),
            seconds=8.0,
        )

    def load(self, device: str) -> None:
        """Only libraries are, which take longer to load than a run takes."""
        from mapping.objects.capture import capturing, standin  # noqa: F401
        from server.generation import keyframes, sources  # noqa: F401

        get_ready()

    def run(self, request: Request, context: Context) -> Result:
        from dataclasses import asdict

        from mapping.objects.capture import standin
        from mapping.objects.capture.capturing import Config, capture
        from mapping.objects.capture.region import NothingThere
        from mapping.objects.mesh import MeshError
        from server.generation import keyframes, sources

        check(request)

        def between(stage: str) -> None:
            context.stage(stage)
            context.park()

        try:
            given = keyframes.read(request.files["keyframes"][0])
            views = list(given.views.values())
            pick = sources.pick(request, list(given.views), views)
            between("stand-in")
            with contextlib.suppress(NothingThere):  # agreed depth may tell more
                first, world_from_first = standin.stand_in(views, pick)
                stand_in(first, request, context, _placed(given, world_from_first) | {"quality": {"stand_in": True}})
            made = capture(views, pick, Config(max_faces=budget(request)), between=between)
        except (NothingThere, MeshError) as error:
            raise GenerationFailed("unsuitable", str(error)) from error
        except (keyframes.KeyframesBroken, KeyError, IndexError, ValueError, TypeError) as error:
            raise GenerationFailed("bad_input", f"{type(error).__name__}: {error}") from error
        quality = {**asdict(made.agreement), "views": len(made.views)}
        return hand_over(made.mesh, request, context, _placed(given, made.world_from_mesh) | {"quality": quality})

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> Capture:
    """There are no options."""
    return Capture()


def _placed(given: Keyframes, world_from_mesh: F64) -> dict[str, Any]:
    """Where it stands, in the keyframes' own coordinates."""
    from server.generation.keyframes import placement

    return {"placement": placement(given, world_from_mesh), "scale_confidence": 0.9}
