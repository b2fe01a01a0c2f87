"""One photo into a body at once: a stand-in that fits its picture from the front.

Params: `height_m` (0.3; a photo alone tells no size).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.generation.handing import STAGES, check, get_ready, hand_over
from server.generation.provider import Context, Description, GenerationFailed, Licence, Request, Result, Stage


class Relief:
    """Fulfils `server.generation.provider.Provider`."""

    def describe(self) -> Description:
        return Description(
            name="relief",
            revision="1",
            licence=Licence("Apache-2.0"),
            inputs=("image", "mask"),
            stages=(Stage("inflate", 2.0), *STAGES),
            seconds=2.0,
        )

    def load(self, device: str) -> None:
        """Only libraries are, which take longer to load than a run takes."""
        from mapping.objects import relief  # noqa: F401
        from server.generation import pictures  # noqa: F401

        get_ready()

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects.relief import relief
        from server.generation.pictures import PictureBroken, read_mask, read_rgb

        check(request)
        context.stage("inflate")
        try:
            rgb = read_rgb(request.files["image"][0])
            mask = read_mask(request.files["mask"][0], rgb.shape[:2]) if request.files.get("mask") else None
            height_m = float(request.params.get("height_m", 0.3))
            if not 0.001 <= height_m <= 100:
                raise GenerationFailed("bad_input", f"height_m is {height_m:g}; 0.001 to 100 can be made")
            made = relief(rgb, height_m, mask)
        except (PictureBroken, KeyError, ValueError, TypeError) as error:
            raise GenerationFailed("bad_input", f"{type(error).__name__}: {error}") from error
        context.park()
        confidence = 0.5 if "height_m" in request.params else 0.1
        return hand_over(made.mesh, request, context, {"scale_confidence": confidence})

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> Relief:
    """There are no options."""
    return Relief()
