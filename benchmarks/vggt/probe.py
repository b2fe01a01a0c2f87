"""Everything the network says about a fixed input, as arrays: how it is compared with the published one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mapping.engines.vggt.cameras import camera_from_world
from mapping.engines.vggt.checkpoints.seeded import fill
from mapping.engines.vggt.model.aggregator import Features
from mapping.engines.vggt.model.architecture import PATCH_PX, Architecture
from mapping.engines.vggt.model.precision import whole_float32
from mapping.engines.vggt.model.vggt import Vggt

F32 = NDArray[np.float32]
_STEP = 8
_TOKENS, _CHANNELS = 12, 32


def waves(views: int, height: int, width: int) -> F32:
    """Images (views, 3, height, width) in 0..1 that anyone can make again."""
    s, c, y, x = np.ogrid[:views, :3, :height, :width]
    along_x = 0.25 * np.sin(0.031 * (c + 1) * x + 0.7 * s)
    along_y = 0.25 * np.cos(0.047 * (c + 2) * y - 0.3 * s * (c + 1))
    return np.asarray(0.5 + along_x + along_y, np.float32)


def seeded_network(sizes: Architecture) -> Vggt:
    """The network with all of its heads, float32, on the CPU, with weights made from their names.

    They require gradients, as the published network's did: PyTorch multiplies in another order where they do not.
    """
    network = Vggt(sizes, has_points=True, has_tracks=True)
    fill(network)
    network.eval()
    return network


def probe(network: Vggt, images: F32, query_px: F32, threads: int = 2, noise: float = 0.0) -> dict[str, F32]:
    """Run a network with all heads, where it is, on images (views, 3, h, w); the dense results are thinned out.

    Args:
        query_px: (n, 2) points of the first view to follow, x then y.
        threads: two, as the published outputs were made. Each sum is rounded in the order that the threads give it, and
            the tracker with seeded weights makes a hundred of one rounding in each of its four rounds.
        noise: relative, on what the heads read; that of float32 itself (6e-8) shows what rounding alone can do.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode(), whole_float32():
            return _probe(network, images, query_px, noise)
    finally:
        torch.set_num_threads(before)


def _probe(network: Vggt, images: F32, query_px: F32, noise: float) -> dict[str, F32]:
    views, _, height, width = images.shape
    grid = (height // PATCH_PX, width // PATCH_PX)
    device = network.aggregator.camera_token.device
    patches = network.encode(torch.from_numpy(images).to(device))
    features = network.aggregate(patches[None], grid, also=(0,))
    if noise:
        generator = torch.Generator().manual_seed(0)
        layers = {
            n: x * (1 + noise * torch.randn(x.shape, generator=generator).to(x.device))
            for n, x in features.layers.items()
        }
        features = Features(layers, layers[network.sizes.feature_layers[-1]][:, :, 0])
    encodings = network.cameras(features)[:, 0].cpu().numpy()
    depth, points = network.depth(features, grid, views), network.points(features, grid, views)
    tracks = network.tracks(features, grid, torch.from_numpy(query_px).to(device))
    told = {
        "first_tokens": features.layers[0][0, :, :_TOKENS, :_CHANNELS],
        "last_tokens": features.layers[network.sizes.feature_layers[-1]][0, :, :_TOKENS, :_CHANNELS],
        "depth": depth.z[0, :, ::_STEP, ::_STEP],
        "depth_conf": depth.confidence[0, :, ::_STEP, ::_STEP],
        "world_points": points.xyz[0, :, ::_STEP, ::_STEP],
        "world_points_conf": points.confidence[0, :, ::_STEP, ::_STEP],
        "track": tracks.points_px[-1],
        "track_iter0": tracks.points_px[0],
        "vis": tracks.visible,
        "conf": tracks.confidence,
    }
    return {name: tensor.cpu().numpy() for name, tensor in told.items()} | {
        "pose_enc": encodings[-1],
        "pose_enc_iter0": encodings[0],
        "extrinsic": camera_from_world(encodings[-1])[:, :3].astype(np.float32),
    }
