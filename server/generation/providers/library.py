"""Assets that lie in a folder, found by what they are called: "jug" is ceramic_jug.glb.

Options: `folder` (Models/generated_assets): GLB, OBJ, STL and PLY files, also in folders within.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from server.generation.handing import STAGES, hand_over
from server.generation.provider import Context, Description, GenerationFailed, Licence, Request, Result, Stage

MAX_FILES = 100_000
SUFFIXES = frozenset({".glb", ".obj", ".stl", ".ply"})


class Library:
    """Fulfils `server.generation.provider.Provider`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def describe(self) -> Description:
        return Description(
            name="library",
            revision="1",
            licence=Licence("LicenseRef-YourFiles", notes="the terms are those of the files in the folder"),
            inputs=("text",),
            stages=(Stage("find", 1.0), *STAGES),
            seconds=1.0,
            deterministic=False,  # the folder may have changed
        )

    def load(self, device: str) -> None:
        """Nothing is needed: the folder is read for each request, since files come and go."""

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects import reading, shelf
        from mapping.objects.mesh import Mesh, MeshError, on_its_pivot

        context.stage("find")
        paths = {str(path.relative_to(self._folder)): path for path in self._files()}
        match = shelf.Library(paths).match(request.text)
        if match is None:
            message = f"none of {len(paths)} files in {self._folder} is called a {request.text[:80]!r}"
            raise GenerationFailed("unsuitable", message, hint=self._hint(paths))
        context.park()
        path = paths[match.name]
        try:
            thing = reading.read(path.suffix[1:].lower(), path.read_bytes())
        except (MeshError, OSError) as error:
            raise GenerationFailed(
                "unsuitable", f"{match.name}: {error}", hint="mend the file, or remove it"
            ) from error
        if not isinstance(thing, Mesh):
            hint = "keep a plain GLB of it in the library"
            raise GenerationFailed("unsuitable", f"{match.name} holds no triangles that can be read", hint=hint)
        mesh = on_its_pivot(thing)
        found = {"found": match.name[:128], "match_score": round(match.score, 3), "match_reason": match.reason}
        return hand_over(mesh, request, context, {"scale_confidence": 0.8, "quality": found})

    def unload(self) -> None:
        """Nothing was taken."""

    def _hint(self, names: Iterable[str]) -> str:
        some = ", ".join(sorted(names)[:5])
        if some:
            return f"ask for one by the noun in its name, or put a file of it there; there are: {some}, ..."
        return "put files there, or name another folder as the provider's option `folder`"

    def _files(self) -> list[Path]:
        if not self._folder.is_dir():
            return []
        files = (path for path in self._folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        return sorted(path for path in files if path.is_file() and not path.is_symlink())[:MAX_FILES]


def create(options: Mapping[str, Any]) -> Library:
    """`folder`: where the files are."""
    return Library(Path(str(options.get("folder", "Models/generated_assets"))))
