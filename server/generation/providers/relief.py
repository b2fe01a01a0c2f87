"""One photo into a body at once: a stand-in that fits its picture from the front.

Params: `height_m` (0.3; a photo alone tells no size). Without a mask or an alpha channel the thing is told from the
picture's border; `problems` then says where that is doubtful: `cut_by_border`, `nothing_stands_out`,
`background_alike`, `background_cluttered` (`mapping.objects.foreground`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.generation.handing import STAGES, check, get_ready, hand_over
from server.generation.provider import Context, Description, GenerationFailed, Licence, Request, Result, Stage

_ADVICE = "its outline in the picture is a guess: give a mask, a cut-out PNG, or a photo of it whole before one colour"


class Relief:
    """Fulfils `server.generation.provider.Provider`."""

    def describe(self) -> Description:
        return Description(
            name="relief",
            revision="2",
            licence=Licence("Apache-2.0"),
            inputs=("image", "mask"),
            stages=(Stage("inflate", 2.0), *STAGES),
            seconds=2.0,
        )

    def load(self, device: str) -> None:
        """Only libraries are, which take longer to load than a run takes."""
        from mapping.objects import relief  # noqa: F401
        from server.generation import sources  # noqa: F401

        get_ready()

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects.relief import relief
        from server.generation.sources import outlined

        check(request)
        height_m = request.number("height_m", 0.3, 0.001, 100)
        context.stage("inflate")
        if not request.files.get("image"):
            raise GenerationFailed("bad_input", "there is no picture", hint="give a photo of the thing as `image`")
        rgb, outline = outlined(request.files["image"][0], request.files.get("mask", ()))
        made = relief(rgb, height_m, outline.mask)
        context.park()
        confidence = 0.5 if "height_m" in request.params else 0.1
        more: dict[str, Any] = {"scale_confidence": confidence}
        if outline.doubts:
            more["quality"] = {"problems": outline.doubts, "advice": _ADVICE}
        return hand_over(made.mesh, request, context, more)

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> Relief:
    """There are no options."""
    return Relief()
