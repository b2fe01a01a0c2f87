"""Draws a plain shape of a text, for trying out chains (text to picture to 3D) without any weights: "red cube"."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.generation.provider import Context, Description, GenerationFailed, Licence, MadeFile, Request, Result, Stage

SIDE_PX = 320


class RehearsalPicture:
    """Fulfils `server.generation.provider.Provider`."""

    def describe(self) -> Description:
        return Description(
            name="rehearsal-picture",
            revision="1",
            licence=Licence("Apache-2.0"),
            inputs=("text",),
            outputs=("image",),
            stages=(Stage("draw", 1.0),),
            seconds=0.2,
        )

    def load(self, device: str) -> None:
        """Nothing is needed."""

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects.finishing import png
        from mapping.objects.prims.grammar import understood
        from mapping.objects.prims.shapes import built
        from mapping.objects.prims.sizes import NotUnderstood
        from mapping.objects.thumbnail import thumbnail

        context.stage("draw")
        context.park()
        try:
            drawn = thumbnail(built(understood(request.text)), SIDE_PX)
        except NotUnderstood as error:
            raise GenerationFailed("unsuitable", str(error), hint="name a plain shape") from error
        path = context.spool / "picture.png"
        path.write_bytes(png(drawn))
        return Result((MadeFile("source", path),))

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> RehearsalPicture:
    """There are no options."""
    return RehearsalPicture()
