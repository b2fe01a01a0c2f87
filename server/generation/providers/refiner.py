"""What won a race, but fits its keyframes badly: fitted to them anew, and painted from them; only if that is better.

It gets the winner's mesh and the keyframes; params: `placements`, with where that mesh stands, and those of `capture`,
which say what the keyframes are to show. Where nothing gets better, a file says so instead of a mesh.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from server.generation.handing import STAGES, budget, check, get_ready, hand_over
from server.generation.provider import Context, Description, GenerationFailed, Licence, MadeFile, Request, Result, Stage

if TYPE_CHECKING:
    from mapping.objects.refining import Refined

_WEIGHTS = {"look": 1.0, "fit": 4.0, "paint": 1.0, "compare": 0.5}


class Refiner:
    """Fulfils `server.generation.provider.Provider`."""

    def describe(self) -> Description:
        return Description(
            name="refiner",
            revision="1",
            licence=Licence("Apache-2.0"),
            inputs=("mesh", "keyframes", "mask"),
            stages=(*(Stage(name, weight, stoppable=True) for name, weight in _WEIGHTS.items()), *STAGES),
            seconds=8.0,
        )

    def load(self, device: str) -> None:
        """Only libraries are, which take longer to load than a run takes."""
        from mapping.objects import glb, refining  # noqa: F401
        from server.generation import sources  # noqa: F401

        get_ready()

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects.capture.region import NothingThere
        from mapping.objects.mesh import MeshError
        from server.generation import keyframes, sources

        check(request)
        context.stage("look")
        context.park()
        try:
            given = sources.seen(request)
            made = _refined(request, context, given)
        except NothingThere as error:
            raise GenerationFailed("unsuitable", str(error)) from error
        except (keyframes.KeyframesBroken, MeshError, OSError, LookupError, ValueError, TypeError) as error:
            raise GenerationFailed("bad_input", f"{type(error).__name__}: {error}") from error
        told = _told(made)
        if not made.is_better:
            out = context.spool / "verdict.json"
            out.write_text(json.dumps(told))
            return Result((MadeFile("other", out),), {"quality": {"refinement": told}})
        assert made.after.world_from_mesh is not None
        place = keyframes.placement(given, made.after.world_from_mesh)
        more = {"placement": place, "quality": {"refinement": told}}
        return hand_over(made.mesh, request, context, more, offers=False)

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> Refiner:
    """There are no options."""
    return Refiner()


def _refined(request: Request, context: Context, given: Any) -> Refined:
    from mapping.objects import finishing, glb
    from mapping.objects.fitting import Fit
    from mapping.objects.refining import refined
    from server.generation import keyframes

    def between(stage: str) -> None:
        context.stage(stage)
        context.park()

    def drawn(share: float) -> None:
        context.progress(share)
        context.park()

    mesh = finishing.fitted(glb.decode(request.files["mesh"][0].read_bytes()), budget(request))
    start = Fit(*keyframes.stands(request.params["placements"][0]))
    return refined(mesh, list(given.views.values()), start, between=between, drawn=drawn)


def _told(made: Refined) -> dict[str, Any]:
    """Both marks, rounded to what they are worth."""
    before, after = made.before, made.after
    off_m = after.agreement.depth_error_m
    return {
        "score_before": round(before.score, 4),
        "score_after": round(after.score, 4),
        "mask_iou": round(after.agreement.mask_iou, 4),
        "psnr_db": round(after.agreement.psnr_db, 2),
        "depth_error_m": None if off_m is None else round(off_m, 5),
    }
