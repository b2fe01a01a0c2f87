"""TRELLIS (Xiang et al. 2024): mesh, splats or radiance field of a picture, of several keyframes, or of a text.

The upstream pipelines run in an environment of their own, on a GPU of 16 GB or more. Nothing of them is changed: they
park between transformer blocks, and stages and progress are told from their own calls. A mesh is dressed by us, from
the colours of its vertices: upstream's own baking needs rasterisers that are not free for commercial use.

Options: `image` (microsoft/TRELLIS-image-large): a repository or a folder; `text`: the same, none unless named (text to
picture to 3D is better, say its authors: microsoft/TRELLIS-text-xlarge).
Params: `steps` (12), `structure_guidance` (7.5), `latent_guidance` (3), `views` (8; of keyframes, at most), `height_m`
(0.3; nobody knows the size).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from server.generation.handing import STAGES, budget, check, get_ready, hand_over, hand_over_splats, to_height
from server.generation.needs import Checkout, Extension, Needs, Package, Weights
from server.generation.provider import Context, Description, GenerationFailed, Licence, MadeFile, Request, Result, Stage

if TYPE_CHECKING:
    from mapping.objects.mesh import Mesh

IMAGE = "microsoft/TRELLIS-image-large"
FORMAT = {"mesh": "mesh", "3dgs": "gaussian", "radiance_field": "radiance_field"}
"""What upstream calls our outputs."""
STAGE_OF = {"sample_sparse_structure": "structure", "sample_slat": "latent", "decode_slat": "decode"}
"""Upstream's methods, and what they are called here."""
UP = ((1, 0, 0), (0, 0, 1), (0, -1, 0))
"""From its axes (z up, front to -y) to ours."""
TEXTURE_PX = 1024
_OTHER_SEED = "try another seed"
_PYPI = (
    "torch==2.4.0", "torchvision==0.19.0", "xformers==0.0.27.post2", "spconv-cu120", "numpy", "pillow", "imageio",
    "tqdm", "easydict", "scipy", "rembg", "onnxruntime", "trimesh", "transformers", "open3d", "plyfile", "safetensors",
    "huggingface_hub",
)  # fmt: skip
_MODULES = {"pillow": "PIL", "spconv-cu120": "spconv"}


def needs(options: Mapping[str, Any]) -> Needs:
    """PyPI has most of it; the code is a checkout, since the wheels of that name leave out its submodule."""
    weights = [Weights(repo, "pipeline.json", "MIT") for repo in _repos(options).values()]
    dino = "import torch; torch.hub.load('facebookresearch/dinov2', 'dinov2_vitl14_reg')"
    weights.append(Weights("DINOv2 ViT-L/14", "dinov2_vitl14_reg4_pretrain.pth", "Apache-2.0", fetch=dino))
    return Needs(
        tuple(Package(name, _MODULES.get(name, name.partition("==")[0])) for name in _PYPI),
        (Checkout("https://github.com/microsoft/TRELLIS.git", "trellis/pipelines/__init__.py", "MIT"),),
        (
            Extension("utils3d", "git+https://github.com/EasternJournalist/utils3d.git@9a4eb15e", "MIT"),
            Extension("kaolin", "git+https://github.com/NVIDIAGameWorks/kaolin.git@v0.17.0", "Apache-2.0"),
        ),
        tuple(weights),
        apart=True,
    )


class Trellis:
    """Fulfils `server.generation.provider.Provider`."""

    def __init__(self, repos: Mapping[str, str]) -> None:
        self._repos = repos
        self._pipelines: dict[str, Any] = {}

    def describe(self) -> Description:
        text = ("text",) if "text" in self._repos else ()
        return Description(
            name="trellis",
            revision="1",
            licence=Licence("MIT", notes="baked by us, without upstream's rasterisers that forbid commercial use"),
            inputs=(*text, "image", "images", "keyframes", "mask"),
            outputs=tuple(FORMAT),
            stages=(
                Stage("encode", 1.0), Stage("structure", 6.0), Stage("latent", 6.0),
                Stage("decode", 1.0, preemptible=False, seconds=1.0), Stage("dress", 3.0, stoppable=True), *STAGES,
            ),
            vram_gb=16.0,
            seconds=20.0,
            deterministic=False,  # sparse convolutions add up in any order
        )  # fmt: skip

    def load(self, device: str) -> None:
        from mapping.objects import dressing  # noqa: F401
        from server.generation import sources  # noqa: F401
        from server.generation.flows import use_checkout

        get_ready()
        use_checkout()
        os.environ.setdefault("ATTN_BACKEND", "xformers")
        os.environ.setdefault("SPCONV_ALGO", "native")  # else it measures all algorithms at every new size
        try:
            import torch
            from trellis.pipelines import TrellisImageTo3DPipeline, TrellisTextTo3DPipeline
        except (ImportError, OSError) as error:
            raise _missing(f"TRELLIS cannot be imported: {error}") from error
        kinds = {"image": TrellisImageTo3DPipeline, "text": TrellisTextTo3DPipeline}
        for kind, repo in self._repos.items():
            try:
                self._pipelines[kind] = kinds[kind].from_pretrained(repo)
            except (OSError, ValueError, KeyError) as error:
                raise _missing(f"the weights {repo}: {error}") from error
            self._pipelines[kind].to(torch.device(device))

    def run(self, request: Request, context: Context) -> Result:
        check(request)
        height_m = request.number("height_m", 0.3, 0.001, 100.0)
        made = self._generated(request, context)
        context.stage("dress")
        context.park()
        if request.output == "radiance_field":
            return _write_field(made, context.spool)
        hand_on = _splats_handed_over if request.output == "3dgs" else _mesh_handed_over
        return hand_on(made, height_m, request, context)

    def unload(self) -> None:
        from server.generation import blocks

        self._pipelines.clear()
        blocks.free_cache()

    def _generated(self, request: Request, context: Context) -> Any:
        """Upstream's own object in the wanted format."""
        from server.generation.flows import watched

        steps = int(request.number("steps", 12, 1, 100))
        context.stage("encode")
        pictures = _pictures(request)
        pipeline = self._pipelines.get("image" if pictures else "text")
        if pipeline is None:
            raise GenerationFailed("unsuitable", "TRELLIS is set up here for pictures; name `text` in its options")
        asked = {
            "seed": request.seed,
            "formats": [FORMAT[request.output]],
            "sparse_structure_sampler_params": {
                "steps": steps, "cfg_strength": request.number("structure_guidance", 7.5, 0.0, 100.0),
            },
            "slat_sampler_params": {
                "steps": steps, "cfg_strength": request.number("latent_guidance", 3.0, 0.0, 100.0),
            },
        }  # fmt: skip
        with watched(pipeline, context, STAGE_OF, steps):
            if not pictures:
                found = pipeline.run(request.text, **asked)
            elif len(pictures) == 1:
                found = pipeline.run(pictures[0], **asked)
            else:
                found = pipeline.run_multi_image(pictures, **asked)
        return found[FORMAT[request.output]][0]


def create(options: Mapping[str, Any]) -> Trellis:
    """`image`, `text`: where the weights are."""
    return Trellis(_repos(options))


def _repos(options: Mapping[str, Any]) -> dict[str, str]:
    wanted = {"image": options.get("image", IMAGE), "text": options.get("text")}
    return {kind: str(repo) for kind, repo in wanted.items() if repo}


def _missing(message: str) -> GenerationFailed:
    return GenerationFailed("missing", message[:500], hint="commonground providers doctor trellis says what to do")


def _pictures(request: Request) -> list[Any]:
    """PIL pictures with the thing's outline as their alpha, so that upstream need not look for it."""
    import numpy as np
    from PIL import Image

    from server.generation.sources import cut_outs

    cuts = cut_outs(request, int(request.number("views", 8, 1, 16)))
    return [Image.fromarray(np.dstack([rgb, np.where(mask, 255, 0).astype(np.uint8)])) for rgb, mask in cuts]


def _mesh(made: Any) -> Mesh:
    """In our axes, with the colours of its vertices; raises GenerationFailed: there is no surface."""
    import numpy as np

    from mapping.objects.mesh import Mesh

    if not made.success:
        raise GenerationFailed("no_surface", "what it imagined has no surface", hint=_OTHER_SEED)
    places = made.vertices.float().cpu().numpy() @ np.array(UP, np.float32).T
    rgb = np.full(places.shape, 180, np.uint8)
    if made.vertex_attrs is not None:  # colours, then normals
        rgb = np.round(255 * made.vertex_attrs[:, :3].float().clamp(0, 1).cpu().numpy()).astype(np.uint8)
    return Mesh(places, made.faces.cpu().numpy().astype(np.uint32), rgb=rgb)


def _mesh_handed_over(made: Any, height_m: float, request: Request, context: Context) -> Result:
    from mapping.objects.dressing import dressed
    from mapping.objects.mesh import MeshError, on_its_pivot, scaled

    try:
        mesh = dressed(_mesh(made), budget(request), TEXTURE_PX)
    except MeshError as error:
        raise GenerationFailed("no_surface", f"what it imagined is no body: {error}", hint=_OTHER_SEED) from error
    mesh = on_its_pivot(scaled(mesh, to_height(height_m, mesh.extents_m())))
    return hand_over(mesh, request, context, {"scale_confidence": _confidence(request)})


def _splats_handed_over(made: Any, height_m: float, request: Request, context: Context) -> Result:
    from mapping.objects.mesh import MeshError
    from mapping.objects.splats import cloud, ply

    path = context.spool / "upstream.ply"
    made.save_ply(str(path), transform=[list(row) for row in UP])
    try:
        splats = ply.decode(path.read_bytes(), is_upright=True)
    except MeshError as error:
        raise GenerationFailed("no_surface", f"what it imagined is nothing: {error}", hint=_OTHER_SEED) from error
    path.unlink()
    low, high = splats.bounds_m()
    splats = cloud.scaled(splats, to_height(height_m, high - low))
    return hand_over_splats(splats, request, context, {"scale_confidence": _confidence(request)})


def _confidence(request: Request) -> float:
    return 0.5 if "height_m" in request.params else 0.1


def _write_field(made: Any, spool: Path) -> Result:
    """The tensors that its renderer reads, each under upstream's name; axes and size are upstream's, too."""
    import torch
    from safetensors.torch import save_file

    kept = {name: value.contiguous().cpu() for name, value in vars(made).items() if isinstance(value, torch.Tensor)}
    path = spool / "radiance_field.safetensors"
    save_file(kept, str(path), metadata={"representation": type(made).__name__, "up": "+z"})
    return Result((MadeFile("source", path),), {"scale_confidence": 0.0})
