"""Shap-E (Jun and Nichol 2023) through diffusers: one object of a text or of a picture, on a GPU or slowly without.

Options: `text` (openai/shap-e) and `image` (openai/shap-e-img2img): a repository of the Hugging Face hub or a folder,
"" to do without.
Params: `steps` (64), `guidance` (15 for text, 3 for a picture), `height_m` (0.3; nobody knows the size).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from server.generation.handing import STAGES, budget, check, get_ready, hand_over, to_height
from server.generation.needs import Needs, Package, Weights
from server.generation.provider import Context, Description, GenerationFailed, Licence, Request, Result, Stage

if TYPE_CHECKING:
    from mapping.objects.mesh import Mesh

REPOS = {"text": "openai/shap-e", "image": "openai/shap-e-img2img"}
GUIDANCE = {"text": 15.0, "image": 3.0}
MAX_STEPS = 128
TEXTURE_PX = 1024
_QUERIES = 128**3 // 4096
"""How often the decoder asks its network for a batch of points of its grid."""
_OTHER_SEED = "try another seed, more steps, or say it in other words"
PACKAGES = (
    Package("torch>=2.6", "torch"),
    Package("transformers==5.23.0", "transformers"),
    Package("accelerate==1.15.0", "accelerate"),
    Package("diffusers==0.42.1", "diffusers"),
)


def needs(options: Mapping[str, Any]) -> Needs:
    """Nothing but PyPI and the weights."""
    weights = (Weights(repo, "model_index.json", "MIT") for repo in _repos(options).values())
    return Needs(PACKAGES, weights=tuple(weights))


class ShapE:
    """Fulfils `server.generation.provider.Provider`."""

    def __init__(self, repos: Mapping[str, str]) -> None:
        self._repos = repos
        self._pipes: dict[str, Any] = {}

    def describe(self) -> Description:
        return Description(
            name="shap-e",
            revision="1",
            licence=Licence("MIT", notes="OpenAI's weights; the coarsest of the large models"),
            inputs=("text", "image", "mask"),
            stages=(
                Stage("encode", 1.0),
                Stage("denoise", 10.0),
                Stage("decode", 3.0),
                Stage("dress", 3.0, stoppable=True),
                *STAGES,
            ),
            vram_gb=4.0,
            seconds=40.0,
        )

    def load(self, device: str) -> None:
        from mapping.objects import dressing  # noqa: F401
        from server.generation import sources  # noqa: F401

        get_ready()
        try:
            import torch
            from diffusers import ShapEImg2ImgPipeline, ShapEPipeline
            from diffusers.utils import logging as told
        except ImportError as error:
            hint = "commonground providers install shap-e, or pip install 'commonground[shap-e]'"
            raise GenerationFailed("missing", f"Shap-E cannot be imported: {error}", hint=hint) from error
        told.disable_progress_bar()
        kinds = {"text": ShapEPipeline, "image": ShapEImg2ImgPipeline}
        dtype = torch.float16 if device.startswith("cuda") else torch.float32
        for kind, repo in self._repos.items():
            try:
                pipe = kinds[kind].from_pretrained(repo, dtype=dtype, local_files_only=True)
            except (OSError, ValueError) as error:
                hint = "commonground providers doctor shap-e says what to fetch"
                raise GenerationFailed("missing", f"the weights {repo}: {error}"[:500], hint=hint) from error
            pipe.set_progress_bar_config(disable=True)
            self._pipes[kind] = pipe.to(device)

    def run(self, request: Request, context: Context) -> Result:
        from mapping.objects.dressing import dressed
        from mapping.objects.mesh import MeshError, on_its_pivot, scaled

        check(request)
        height_m = request.number("height_m", 0.3, 0.001, 100.0)
        raw = self._generated(request, context)
        context.stage("dress")
        context.park()
        try:
            mesh = dressed(raw, budget(request), TEXTURE_PX)
        except MeshError as error:
            raise GenerationFailed("no_surface", f"what it imagined is no body: {error}", hint=_OTHER_SEED) from error
        mesh = on_its_pivot(scaled(mesh, to_height(height_m, mesh.extents_m())))
        confidence = 0.5 if "height_m" in request.params else 0.1
        return hand_over(mesh, request, context, {"scale_confidence": confidence})

    def unload(self) -> None:
        from server.generation import blocks

        self._pipes.clear()
        blocks.free_cache()

    def _generated(self, request: Request, context: Context) -> Mesh:
        """The dense mesh, with the colours of its vertices."""
        import torch

        kind = "image" if request.files.get("image") else "text"
        if kind not in self._pipes:
            raise GenerationFailed("unsuitable", f"Shap-E is set up here without the model for {kind}")
        pipe, asked = self._pipes[kind], _cut_out(request) if kind == "image" else request.text
        steps = int(request.number("steps", 64, 1, MAX_STEPS))
        with _watched(pipe, context):
            found = pipe(
                asked,
                num_inference_steps=steps,
                guidance_scale=request.number("guidance", GUIDANCE[kind], 0.0, 100.0),
                generator=torch.Generator("cpu").manual_seed(request.seed),
                output_type="mesh",
            )
        return _mesh(found.images[0])


def create(options: Mapping[str, Any]) -> ShapE:
    """`text`, `image`: where the weights are."""
    return ShapE(_repos(options))


def _repos(options: Mapping[str, Any]) -> dict[str, str]:
    wanted = {kind: options.get(kind, repo) for kind, repo in REPOS.items()}
    return {kind: str(repo) for kind, repo in wanted.items() if repo}


@contextlib.contextmanager
def _watched(pipe: Any, context: Context) -> Iterator[None]:
    """Parks between the blocks of all its networks; stages and progress are told from the pipeline's own calls."""
    from server.generation import blocks

    encoder = pipe.image_encoder if hasattr(pipe, "image_encoder") else pipe.text_encoder
    layers = [layer for layer in encoder.modules() if type(layer).__name__ == "CLIPEncoderLayer"]
    renderer = pipe.shap_e_renderer
    parts = [*layers, *pipe.prior.transformer_blocks, renderer.mlp, renderer.mesh_decoder]
    context.stage("encode")
    with (
        blocks.parking(parts, context),
        _checked(renderer.mesh_decoder),
        blocks.staged(pipe.scheduler, "set_timesteps", lambda: context.stage("denoise")),
        blocks.counted(pipe.scheduler, "step", context, lambda: len(pipe.scheduler.timesteps)),
        blocks.staged(renderer, "decode_to_mesh", lambda: context.stage("decode")),
        blocks.counted(renderer.mlp, "forward", context, lambda: _QUERIES),
    ):
        yield


@contextlib.contextmanager
def _checked(decoder: Any) -> Iterator[None]:
    """Give up when the decoder finds no triangle: what comes after it takes that for impossible."""

    def look(module: Any, args: Any, found: Any) -> None:
        if not len(found.faces):
            raise GenerationFailed("no_surface", "what it imagined has no surface", hint=_OTHER_SEED)

    handle = decoder.register_forward_hook(look)
    try:
        yield
    finally:
        handle.remove()


def _cut_out(request: Request) -> Any:
    """The thing alone on white, in the middle of a square picture: as in the renderings it learned from."""
    import numpy as np
    from PIL import Image

    from server.generation.sources import cut_outs

    part, inside = cut_outs(request, 1)[0]
    return Image.fromarray(np.where(inside[..., None], part, 255).astype(np.uint8))


def _mesh(found: Any) -> Mesh:
    """What the decoder gives, +Y up and facing +Z: its own axes have z up and show the front to -y."""
    import numpy as np

    from mapping.objects.glb import srgb_of_linear
    from mapping.objects.mesh import Mesh

    places = found.verts.float().cpu().numpy()
    linear = np.stack([found.vertex_channels[name].float().cpu().numpy() for name in "RGB"], axis=1)
    turned = np.stack([places[:, 0], places[:, 2], -places[:, 1]], axis=1).astype(np.float32)
    return Mesh(turned, found.faces.cpu().numpy().astype(np.uint32), rgb=srgb_of_linear(linear.clip(0, 1)))
