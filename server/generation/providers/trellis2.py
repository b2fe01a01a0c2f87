"""TRELLIS.2 (Microsoft, 2025): a mesh with base colour, metallic, roughness and opacity, of one picture.

The upstream pipeline runs in an environment of its own, on a GPU of 24 GB or more, as `providers/trellis.py` does.

Options: `image` (microsoft/TRELLIS.2-4B): a repository or a folder.
Params: `resolution` (`512`, `1024`, `1024_cascade`, `1536_cascade`; 1024_cascade), `texture_px` (1024), `height_m`
(0.3; nobody knows the size).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from server.generation.handing import STAGES, budget, check, get_ready, hand_over, to_height
from server.generation.needs import Checkout, Extension, Needs, Package, Weights
from server.generation.provider import Context, Description, GenerationFailed, Licence, MadeFile, Request, Result, Stage

IMAGE = "microsoft/TRELLIS.2-4B"
RESOLUTIONS = ("512", "1024", "1024_cascade", "1536_cascade")
STAGE_OF = {
    "sample_sparse_structure": "structure", "sample_shape_slat": "shape", "sample_shape_slat_cascade": "shape",
    "sample_tex_slat": "texture", "decode_latent": "decode",
}  # fmt: skip
"""Upstream's methods, and what they are called here."""
STEPS = 12
MOST_FACES = 16_777_216
"""More its rasteriser cannot take."""
_CODE = "https://github.com/microsoft/TRELLIS.2.git"
_PYPI = (
    "torch==2.6.0", "torchvision==0.21.0", "numpy", "pillow", "imageio", "tqdm", "easydict", "opencv-python-headless",
    "ninja", "trimesh", "transformers", "zstandard", "kornia", "timm", "safetensors", "huggingface_hub",
)  # fmt: skip
_MODULES = {"pillow": "PIL", "opencv-python-headless": "cv2"}
_NVIDIA = "NVIDIA's source code licence: no commercial use"


def needs(options: Mapping[str, Any]) -> Needs:
    """Half of it is built from source; two models are handed out on request."""
    return Needs(
        tuple(Package(name, _MODULES.get(name, name.partition("==")[0])) for name in _PYPI),
        (Checkout(_CODE, "trellis2/pipelines/__init__.py", "MIT"),),
        (
            Extension("flash_attn", "flash-attn==2.7.3", "BSD-3-Clause"),
            Extension("nvdiffrast", "git+https://github.com/NVlabs/nvdiffrast.git@v0.4.0", _NVIDIA),
            Extension("cumesh", "git+https://github.com/JeffreyXiang/CuMesh.git", "MIT"),
            Extension("flex_gemm", "git+https://github.com/JeffreyXiang/FlexGEMM.git", "MIT"),
            Extension("o_voxel", f"git+{_CODE}#subdirectory=o-voxel", "MIT"),
        ),
        (
            Weights(str(options.get("image", IMAGE)), "pipeline.json", "MIT"),
            Weights(
                "facebook/dinov3-vitl16-pretrain-lvd1689m", "model.safetensors", "Meta's DINOv3 licence", gated=True
            ),
            Weights("briaai/RMBG-2.0", "model.safetensors", "no commercial use", gated=True),
        ),
        apart=True,
    )


class Trellis2:
    """Fulfils `server.generation.provider.Provider`."""

    def __init__(self, repo: str) -> None:
        self._repo = repo
        self._pipeline: Any = None

    def describe(self) -> Description:
        notes = "the model is MIT; what it is baked and cut out with may not be used commercially"
        return Description(
            name="trellis2",
            revision="1",
            licence=Licence("MIT", commercial=False, gated=True, notes=notes),
            inputs=("image", "mask"),
            stages=(
                Stage("encode", 1.0), Stage("structure", 3.0), Stage("shape", 6.0), Stage("texture", 4.0),
                Stage("decode", 1.0, preemptible=False, seconds=1.5),
                Stage("bake", 4.0, preemptible=False, seconds=4.0), *STAGES,
            ),
            vram_gb=24.0,
            seconds=30.0,
            deterministic=False,  # sparse convolutions add up in any order
        )  # fmt: skip

    def load(self, device: str) -> None:
        from server.generation import sources  # noqa: F401
        from server.generation.flows import use_checkout

        get_ready()
        use_checkout()
        os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
        try:
            import torch
            from trellis2.pipelines import Trellis2ImageTo3DPipeline
        except (ImportError, OSError) as error:
            raise _missing(f"TRELLIS.2 cannot be imported: {error}") from error
        try:
            self._pipeline = Trellis2ImageTo3DPipeline.from_pretrained(self._repo)
        except (OSError, ValueError, KeyError) as error:
            raise _missing(f"the weights {self._repo}: {error}") from error
        self._pipeline.to(torch.device(device))

    def run(self, request: Request, context: Context) -> Result:
        check(request)
        height_m = request.number("height_m", 0.3, 0.001, 100.0)
        texture_px = int(request.number("texture_px", 1024, 64, 4096))
        resolution = request.params.get("resolution", "1024_cascade")
        if resolution not in RESOLUTIONS:
            raise GenerationFailed("bad_input", f"resolution must be one of {', '.join(RESOLUTIONS)}")
        made = self._generated(request, context, resolution)
        context.stage("bake")
        data = _baked(made, budget(request), texture_px, height_m)
        return _handed_over(data, request, context)

    def unload(self) -> None:
        from server.generation import blocks

        self._pipeline = None
        blocks.free_cache()

    def _generated(self, request: Request, context: Context, resolution: str) -> Any:
        """Upstream's mesh with its volume of materials."""
        import numpy as np
        from PIL import Image

        from server.generation.flows import watched
        from server.generation.sources import cut_outs

        context.stage("encode")
        rgb, mask = cut_outs(request, 1)[0]
        picture = Image.fromarray(np.dstack([rgb, np.where(mask, 255, 0).astype(np.uint8)]))
        with watched(self._pipeline, context, STAGE_OF, STEPS):
            return self._pipeline.run(picture, seed=request.seed, pipeline_type=resolution)[0]


def create(options: Mapping[str, Any]) -> Trellis2:
    """`image`: where the weights are."""
    return Trellis2(str(options.get("image", IMAGE)))


def _missing(message: str) -> GenerationFailed:
    return GenerationFailed("missing", message[:500], hint="commonground providers doctor trellis2 says what to do")


def _baked(made: Any, max_faces: int, texture_px: int, height_m: float) -> bytes:
    """A GLB with its materials, of the wanted height, on the middle of its floor; +Y up by upstream."""
    import o_voxel

    made.simplify(MOST_FACES)
    if not len(made.faces):
        raise GenerationFailed("no_surface", "what it imagined has no surface", hint="try another seed")
    shape = o_voxel.postprocess.to_glb(
        vertices=made.vertices, faces=made.faces, attr_volume=made.attrs, coords=made.coords, attr_layout=made.layout,
        voxel_size=made.voxel_size, aabb=[[-0.5, -0.5, -0.5], [0.5, 0.5, 0.5]], decimation_target=max_faces,
        texture_size=texture_px, remesh=True, remesh_band=1, remesh_project=0,
    )  # fmt: skip
    shape.apply_scale(to_height(height_m, shape.extents))
    low, high = shape.bounds
    shape.apply_translation([-(low[0] + high[0]) / 2, -low[1], -(low[2] + high[2]) / 2])
    return bytes(shape.export(file_type="glb"))


def _handed_over(data: bytes, request: Request, context: Context) -> Result:
    """All that goes with an asset; its finest level is upstream's own file, which has all materials."""
    from mapping.objects import glb

    mesh = glb.decode(data)
    confidence = 0.5 if "height_m" in request.params else 0.1
    result = hand_over(mesh, request, context, {"scale_confidence": confidence})
    path = context.spool / "materials.glb"
    path.write_bytes(data)
    full = MadeFile("lod0", path, triangles=len(mesh.faces))
    return replace(result, files=tuple(full if file.path.name == "lod0.glb" else file for file in result.files))
