"""From a mesh to what a provider gives back: shown at once, finished after; heavy libraries come with the mesh."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.generation.provider import Context, GenerationFailed, MadeFile, Request, Result, Stage

if TYPE_CHECKING:
    from mapping.objects.finishing import Made
    from mapping.objects.mesh import F64, Mesh
    from mapping.objects.splats.cloud import Splats

STAGES = (Stage("show", 2.0), Stage("finish", 3.0, stoppable=True))
"""To stand last in the description of a provider that uses `hand_over`."""
_FLAT = 1e-4
"""Of its largest extent: what is lower is not made larger by that."""


def get_ready() -> None:
    """Load the libraries of `hand_over` and have its kernels compiled, before anybody waits for it."""
    from mapping.objects import finishing, solid

    finishing.shown(solid.box(0.1, 0.1, 0.1), "ready", finishing.MAX_FACES["prop"], {})


def check(request: Request) -> None:
    """To be called before anything is made; so much is not known to whoever takes jobs in.

    Raises:
        GenerationFailed: `params["formats"]` (`["usdz", "dxf", ...]`, to be published beside the GLBs) or
            `params["max_faces"]` cannot be had.
    """
    budget(request)
    _formats(request)


def to_height(height_m: float, extents_m: Sequence[float] | F64) -> float:
    """How much larger something of these extents (x, y, z) has to be to have a height.

    Raises:
        GenerationFailed: it is flat.
    """
    if not extents_m[1] > _FLAT * max(extents_m):
        raise GenerationFailed("no_surface", "what it imagined lies flat", hint="try another seed")
    return height_m / float(extents_m[1])


def hand_over(
    mesh: Mesh, request: Request, context: Context, more: Mapping[str, Any], *, offers: bool = True
) -> Result:
    """Offer what can be shown, then make the rest; goes through `STAGES`.

    Args:
        more: metadata besides what is measured here: `placement`, `scale_confidence`, and within `quality`, whose
            `problems` are added to those that are found.
        offers: what can be shown is, before the rest is there.

    Raises:
        GenerationFailed: as `check`.
        MeshError: the mesh has no triangles.
        Cancelled: nobody wants it any more.
    """
    from mapping.objects import finishing
    from mapping.objects.formats import FACETED

    name = str(request.params.get("name") or request.text or "object")[:64]
    max_faces = budget(request)
    wanted = _formats(request)
    mesh = finishing.fitted(mesh, max_faces)
    extras = {"generator": "Commonground"}  # nothing of this job alone: equal requests are equal bytes
    context.stage("show")
    context.park()
    made, quality = finishing.shown(mesh, name, max_faces, extras)
    metadata = finishing.facts(mesh, quality)
    more_quality = more.get("quality", {})
    problems = [*metadata["quality"]["problems"], *more_quality.get("problems", ())]
    metadata["quality"] |= {**more_quality, "problems": problems}
    metadata |= {key: value for key, value in more.items() if key != "quality"}
    if FACETED.intersection(wanted):
        metadata["quality"]["faceted"] = True
    first = Result(tuple(_written(made, context.spool)), metadata)
    if offers:
        context.offer(first)
    context.stage("finish")
    rest = [*finishing.rest(mesh, name, extras), *_converted(mesh, name, wanted)]
    return Result((*first.files, *_written(rest, context.spool)), metadata)


def hand_over_splats(splats: Splats, request: Request, context: Context, more: Mapping[str, Any]) -> Result:
    """The same for a thing made of Gaussians, which are put on their pivot; goes through `STAGES`.

    Raises:
        GenerationFailed: as `check`.
        Cancelled: nobody wants it any more.
    """
    from mapping.objects.splats import finishing
    from mapping.objects.splats.cloud import on_its_pivot

    check(request)
    name = str(request.params.get("name") or request.text or "object")[:64]
    splats = on_its_pivot(splats)
    context.stage("show")
    context.park()
    metadata = finishing.facts(splats)
    metadata["quality"] |= more.get("quality", {})
    metadata |= {key: value for key, value in more.items() if key != "quality"}
    first = Result(tuple(_written(finishing.shown(splats), context.spool)), metadata)
    context.offer(first)
    context.stage("finish")
    rest = finishing.rest(splats, name, {"generator": "Commonground"})
    return Result((*first.files, *_written(rest, context.spool)), metadata)


def budget(request: Request) -> int:
    """How many triangles the asset may have: as asked for, or as its type usually has.

    Raises:
        GenerationFailed: `params["max_faces"]` is no number in range.
    """
    from mapping.objects.finishing import BUDGET_RANGE, MAX_FACES

    usual = MAX_FACES.get(str(request.params.get("asset_type", "prop")), MAX_FACES["prop"])
    asked = request.params.get("max_faces", usual)
    if type(asked) is not int or not BUDGET_RANGE[0] <= asked <= BUDGET_RANGE[1]:
        raise GenerationFailed("bad_input", f"max_faces must be from {BUDGET_RANGE[0]} to {BUDGET_RANGE[1]}")
    return asked


def _formats(request: Request) -> list[str]:
    """What is asked for, each once."""
    from mapping.objects import formats

    wanted, known = request.params.get("formats", ()), formats.available()
    if wanted and request.output != "mesh":
        raise GenerationFailed("bad_input", f"formats are of meshes only, not of {request.output}")
    if not isinstance(wanted, (list, tuple)) or not all(suffix in known for suffix in wanted):
        raise GenerationFailed("bad_input", f"formats must be a list of {', '.join(known)}")
    return list(dict.fromkeys(wanted))


def stand_in(mesh: Mesh, request: Request, context: Context, more: Mapping[str, Any]) -> None:
    """Offer one plain GLB in place of what takes longer; `more` is as in `hand_over`."""
    from mapping.objects import finishing, glb
    from mapping.objects.quality import measure

    name = str(request.params.get("name") or request.text or "object")[:64]
    facts = finishing.facts(mesh, measure(mesh, len(mesh.faces)))
    facts["quality"] |= more.get("quality", {})
    made = finishing.Made("lod0", "stand-in.glb", glb.encode(mesh, name), len(mesh.faces))
    context.offer(Result(tuple(_written([made], context.spool)), {**more, **facts}))


def _converted(mesh: Mesh, name: str, wanted: Iterable[str]) -> list[Made]:
    """The finest level in other programs' formats."""
    from mapping.objects import formats
    from mapping.objects.finishing import Made

    try:
        return [
            Made("lod0", f"lod0.{one}", formats.encode(one, mesh, name), len(formats.limited(one, mesh).faces))
            for one in wanted
        ]
    except formats.FormatMissing as error:
        raise GenerationFailed("missing", str(error)) from error


def _written(files: Iterable[Made], spool: Path) -> Iterable[MadeFile]:
    for file in files:
        path = spool / file.name
        path.write_bytes(file.data)
        yield MadeFile(file.role, path, extensions=file.extensions, triangles=file.triangles)
