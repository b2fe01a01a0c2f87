"""Everything the network says about a fixed input, as arrays: how it is compared with the published one."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from mapping.engines.vggt.cameras import camera_from_world
from mapping.engines.vggt.checkpoints.seeded import fill
from mapping.engines.vggt.model.architecture import PATCH_PX, Architecture
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
    """Run a network with all heads on images (views, 3, h, w); the dense results are thinned out.

    Args:
        query_px: (n, 2) points of the first view to follow, x then y.
        threads: two, as the published outputs were made. Each sum is rounded in the order that the threads give it, and
            the tracker with seeded weights makes a hundred of one rounding in each of its four rounds.
        noise: relative, on what the heads read; that of float32 itself (6e-8) shows what rounding alone can do.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            return _probe(network, images, query_px, noise)
    finally:
        torch.set_num_threads(before)


def _probe(network: Vggt, images: F32, query_px: F32, noise: float) -> dict[str, F32]:
    views, _, height, width = images.shape
    grid = (height // PATCH_PX, width // PATCH_PX)
    layers = network.sizes.feature_layers
    features = network.aggregate(network.encode(torch.from_numpy(images))[None], grid, also=(0,))
    if noise:
        generator = torch.Generator().manual_seed(0)
        features = {n: x * (1 + noise * torch.randn(x.shape, generator=generator)) for n, x in features.items()}
    encodings = network.cameras(features)[:, 0].numpy()
    depth, points = network.depth(features, grid, views), network.points(features, grid, views)
    tracks = network.tracks(features, grid, torch.from_numpy(query_px))
    return {
        "first_tokens": features[0][0, :, :_TOKENS, :_CHANNELS].numpy(),
        "last_tokens": features[layers[-1]][0, :, :_TOKENS, :_CHANNELS].numpy(),
        "pose_enc": encodings[-1],
        "pose_enc_iter0": encodings[0],
        "extrinsic": camera_from_world(encodings[-1])[:, :3].astype(np.float32),
        "depth": depth.z[0, :, ::_STEP, ::_STEP].numpy(),
        "depth_conf": depth.confidence[0, :, ::_STEP, ::_STEP].numpy(),
        "world_points": points.xyz[0, :, ::_STEP, ::_STEP].numpy(),
        "world_points_conf": points.confidence[0, :, ::_STEP, ::_STEP].numpy(),
        "track": tracks.points_px[-1].numpy(),
        "track_iter0": tracks.points_px[0].numpy(),
        "vis": tracks.visible.numpy(),
        "conf": tracks.confidence.numpy(),
    }
