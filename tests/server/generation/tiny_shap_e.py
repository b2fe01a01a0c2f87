"""Shap-E with a few hundred random weights, as folders that `from_pretrained` reads: the real pipelines, made small.

Random weights enclose nothing, and the decoder's table of cases comes with the real ones: with `has_surface` the table
is that of marching cubes, and the last layer is shifted until a body appears within the volume.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import HeunDiscreteScheduler, PriorTransformer, ShapEImg2ImgPipeline, ShapEPipeline
from diffusers.pipelines.shap_e import ShapERenderer
from transformers import (
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionConfig,
    CLIPVisionModel,
)

_WIDTH = 32
_SHIFT = -0.029


def save(folder: Path, *, has_surface: bool) -> dict[str, str]:
    """Write both pipelines; options for the provider."""
    torch.manual_seed(3)
    renderer = _renderer(has_surface)
    scheduler = HeunDiscreteScheduler(
        beta_schedule="exp", num_train_timesteps=1024, prediction_type="sample", use_karras_sigmas=True,
        clip_sample=True,
    )  # fmt: skip
    text = CLIPTextModelWithProjection(
        CLIPTextConfig(
            hidden_size=_WIDTH, projection_dim=_WIDTH, intermediate_size=37, num_attention_heads=2,
            num_hidden_layers=2, vocab_size=64, max_position_embeddings=16, bos_token_id=0, eos_token_id=1,
        )
    )  # fmt: skip
    image = CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=_WIDTH, image_size=32, patch_size=4, intermediate_size=37, num_attention_heads=2,
            num_hidden_layers=2,
        )
    )  # fmt: skip
    processor = CLIPImageProcessor(crop_size=32, size=32, do_center_crop=True, do_normalize=True, do_resize=True)
    ShapEPipeline(_prior(), text, _tokenizer(folder), scheduler, renderer).save_pretrained(folder / "text")
    ShapEImg2ImgPipeline(_prior(), image, processor, scheduler, renderer).save_pretrained(folder / "image")
    return {"text": str(folder / "text"), "image": str(folder / "image")}


def _prior() -> PriorTransformer:
    return PriorTransformer(
        num_attention_heads=2, attention_head_dim=16, embedding_dim=_WIDTH, num_embeddings=32,
        embedding_proj_dim=_WIDTH, time_embed_dim=4 * _WIDTH, num_layers=2, clip_embed_dim=2 * _WIDTH,
        additional_embeddings=0, time_embed_act_fn="gelu", norm_in_type="layer", embedding_proj_norm_type="layer",
        encoder_hid_proj_type=None, added_emb_type=None,
    )  # fmt: skip


def _tokenizer(folder: Path) -> CLIPTokenizer:
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{letter}</w>" for letter in letters)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=16)


def _renderer(has_surface: bool) -> ShapERenderer:
    renderer = ShapERenderer(
        param_shapes=((8, 93), (8, 8), (8, 8), (8, 8)), d_latent=_WIDTH, d_hidden=8, n_output=12,
        background=(1.0, 1.0, 1.0),
    )  # fmt: skip
    if has_surface:
        cases, masks = _marching_cubes()
        renderer.mesh_decoder.cases.copy_(cases)
        renderer.mesh_decoder.masks.copy_(masks)
        with torch.no_grad():  # of a point's 93 features only x, y, z count: a smooth field, no foam
            first = renderer.params_proj.projections["nerstf__mlp__0__weight"]
            first.norm.weight[3:] = 0.0
            first.proj.bias.view(8, 93)[:, 3:] = 0.0
            renderer.mlp.mlp[-1].bias[0] = _SHIFT
    return renderer


def _marching_cubes() -> tuple[torch.Tensor, torch.Tensor]:
    """The classic table of 256 cases in the decoder's order: corner x + 2y + 4z, edges along x, then y, then z."""
    from base64 import b64decode

    from skimage.measure import _marching_cubes_lewiner_luts as luts

    shape, text = luts.CASESCLASSIC
    classic = np.frombuffer(b64decode(text), np.int8).reshape(shape)
    corners = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0), (0, 0, 1), (1, 0, 1), (1, 1, 1), (0, 1, 1)]
    ends = [(0, 1), (1, 2), (2, 3), (3, 0), (4, 5), (5, 6), (6, 7), (7, 4), (0, 4), (1, 5), (2, 6), (3, 7)]
    cases, masks = torch.zeros(256, 5, 3, dtype=torch.long), torch.zeros(256, 5, dtype=torch.bool)
    for theirs in range(256):
        ours = sum((theirs >> i & 1) << (x + 2 * y + 4 * z) for i, (x, y, z) in enumerate(corners))
        edges = [edge for edge in classic[theirs] if edge >= 0]
        for triangle in range(len(edges) // 3):
            chosen = edges[3 * triangle : 3 * triangle + 3]
            cases[ours, triangle] = torch.tensor([_edge(corners[ends[e][0]], corners[ends[e][1]]) for e in chosen])
            masks[ours, triangle] = True
    return cases, masks


def _edge(a: tuple[int, int, int], b: tuple[int, int, int]) -> int:
    x, y, z = (min(p, q) for p, q in zip(a, b, strict=True))
    if a[0] != b[0]:
        return y + 2 * z
    return 4 + x + 2 * z if a[1] != b[1] else 8 + x + 2 * y
