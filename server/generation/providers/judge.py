"""The judge of a race: draws what each provider made as the pictures were taken, and compares. It makes no asset.

It gets the racers' meshes and what they were made from; params: `placements`, one for each mesh, None where its maker
did not know its place; and those of `capture`, which say what the keyframes are to show.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.generation.provider import Context, Description, GenerationFailed, Licence, MadeFile, Request, Result, Stage

if TYPE_CHECKING:
    from mapping.objects.judging import Verdict
    from mapping.objects.mesh import Mesh


class Judge:
    """Fulfils `server.generation.provider.Provider`."""

    def describe(self) -> Description:
        return Description(
            name="judge",
            revision="1",
            licence=Licence("Apache-2.0"),
            inputs=("mesh", "image", "images", "keyframes", "mask"),
            outputs=("verdict",),
            stages=(Stage("look", 1.0, stoppable=True), Stage("compare", 4.0, stoppable=True)),
            seconds=3.0,
            deterministic=False,  # what it says depends on who else takes part
        )

    def load(self, device: str) -> None:
        """Only libraries are, which take longer to load than a run takes."""
        from mapping.objects import glb, judging  # noqa: F401
        from server.generation import sources  # noqa: F401

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects.capture.region import NothingThere
        from mapping.objects.mesh import MeshError

        meshes = request.files.get("mesh", ())
        context.stage("look")
        context.park()
        look = _among_keyframes(request) if request.files.get("keyframes") else _in_photo(request)
        context.stage("compare")
        verdicts = []
        for number, path in enumerate(meshes):
            context.park()
            try:
                verdicts.append(look(path, number))
            except (MeshError, NothingThere, OSError) as error:  # nothing that could win
                verdicts.append({"failed": str(error)[:200]})
            context.progress((number + 1) / len(meshes))
        out = context.spool / "verdict.json"
        out.write_text(json.dumps(verdicts))
        return Result((MadeFile("other", out),), {"quality": {"verdicts": verdicts}})

    def unload(self) -> None:
        """Nothing was taken."""


def create(options: Mapping[str, Any]) -> Judge:
    """There are no options."""
    return Judge()


def _among_keyframes(request: Request) -> Any:
    """Judges one mesh by all keyframes that show the thing, and says where it stands."""
    from mapping.objects.capture.region import NothingThere
    from mapping.objects.judging import judged
    from server.generation import keyframes, sources

    try:
        given = sources.seen(request)
    except (keyframes.KeyframesBroken, NothingThere, KeyError, ValueError, TypeError) as error:
        raise GenerationFailed("bad_input", f"{type(error).__name__}: {error}") from error
    places = request.params.get("placements", [])

    def look(path: Path, number: int) -> dict[str, Any]:
        known = places[number] if number < len(places) else None
        scale, pose = (1.0, None) if known is None else keyframes.stands(known)
        verdict = judged(_read(path), list(given.views.values()), pose, scale)
        said = _told(verdict)
        if verdict.world_from_mesh is not None:
            said["placement"] = keyframes.placement(given, verdict.world_from_mesh, verdict.scale)
        return said

    return look


def _in_photo(request: Request) -> Any:
    """Judges one mesh by the first photo, seen from wherever it fits best."""
    from mapping.objects.judging import judged_by_photo
    from server.generation.sources import photos

    try:
        view = photos(request)[0]
    except IndexError as error:
        raise GenerationFailed("bad_input", "there is no picture to compare with") from error
    assert view.mask is not None
    mask = view.mask
    return lambda path, number: _told(judged_by_photo(_read(path), view.rgb, mask))


def _told(verdict: Verdict) -> dict[str, Any]:
    """A verdict as JSON, rounded to what it is worth."""
    found = verdict.agreement
    off_m = found.depth_error_m
    return {
        "score": round(verdict.score, 4),
        "mask_iou": round(found.mask_iou, 4),
        "psnr_db": round(found.psnr_db, 2),
        "depth_error_m": None if off_m is None else round(off_m, 5),
    }


def _read(path: Path) -> Mesh:
    from mapping.objects import glb

    return glb.decode(path.read_bytes())
