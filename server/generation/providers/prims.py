"""Plain shapes and furniture from a few words, of exact size: "red cube 20 cm", "oak table 1.2 m wide"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.generation.handing import STAGES, get_ready, hand_over
from server.generation.provider import Context, Description, GenerationFailed, Licence, Request, Result, Stage


class Prims:
    """Fulfils `server.generation.provider.Provider`."""

    def describe(self) -> Description:
        return Description(
            name="prims",
            revision="2",
            licence=Licence("Apache-2.0"),
            inputs=("text",),
            stages=(Stage("build", 1.0), *STAGES),
            seconds=0.5,
        )

    def load(self, device: str) -> None:
        """Only libraries are, which take longer to load than a run takes."""
        from mapping.objects.prims import grammar, shapes  # noqa: F401

        get_ready()

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects.prims.grammar import understood
        from mapping.objects.prims.shapes import built
        from mapping.objects.prims.sizes import NotUnderstood

        context.stage("build")
        try:
            wanted = understood(request.text)
        except NotUnderstood as error:
            raise GenerationFailed("unsuitable", str(error), hint=error.hint) from error
        confidence = 1.0 if wanted.sizes_m else 0.5
        return hand_over(built(wanted), request, context, {"scale_confidence": confidence})

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> Prims:
    """There are no options."""
    return Prims()
