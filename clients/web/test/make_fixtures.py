"""Write the golden frames that the TypeScript SDK's tests decode, with the server's own encoder.

Run from the repository's root after a change of the wire: `python -m clients.web.test.make_fixtures`, or as a script.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path

import numpy as np
import zstandard

sys.path.insert(0, str(Path(__file__).parents[3]))

from server import protocol as p
from server.bus.variants import short
from server.protocol import polygons

FIXTURES = Path(__file__).parent / "fixtures"
CAPTURE_NS = 1_760_000_000_123_456_789  # beyond 2**53: must not pass through a float


def frames() -> dict[str, bytes]:
    """Every server message once, and deltas with plain and with compressed buffers."""
    scene = p.SceneInfo("main", 3, "lineage-a", "camera_height", "motion")
    limits = p.Limits(p.MAX_INBOUND_BYTES, 1 << 20)
    nav_arrays = {
        "verts": np.array([[0, 0, 0], [20, 1, 0], [20, 1, 30], [0, 0, 30], [40, 2, 0]], np.uint16),
        "polys": np.array([[0, 3, 2, 1, 0xFFFF, 0xFFFF], [1, 2, 4, 0xFFFF, 0xFFFF, 0xFFFF]], np.uint16),
        "neighbours": np.array([[0xFFFF, 0x8001, 1, 0xFFFF, 0, 0], [0, 0xFFFF, 0x8002, 0, 0, 0]], np.uint16),
        "areas": np.array([63, 63], np.uint8),
        "blob": np.arange(7, dtype=np.uint8),
    }
    nav_body = {"agent": "walker", "origin_m": [3.2, -0.5, -6.4], "cell_size_m": 0.05, "cell_height_m": 0.02}
    mesh_arrays = {
        "vertices": np.arange(900, dtype=np.int16).reshape(300, 3) - 450,
        "indices": np.arange(300, dtype=np.uint16).reshape(100, 3),
        "rgb": np.tile(np.array([200, 100, 50], np.uint8), (300, 1)),
    }
    mesh_body = {"origin_m": [1.0, 2.0, 3.0], "step_m": 0.001}
    pose_body = {
        "stream": "s1",
        "frame": 17,
        "state": "tracked",
        "t": [1.0, 1.5, -2.0],
        "q_wxyz": [0.5, 0.5, 0.5, 0.5],
        "K": [985.0, 986.0, 640.0, 360.0, 1280, 720],
        "scale_source": "none",
    }
    resume = p.Resume("lineage-a", 41, p.Roi(4.0, (1.0, 0.0, 2.0)))
    points_body = {
        "stream": "s1",
        "world_from_camera": {"t": [0.0] * 3, "q_wxyz": [1.0, 0.0, 0.0, 0.0]},
        "step_m": 0.001,
    }
    points_arrays = {"xyz": np.empty((0, 3), np.int16), "rgb": np.empty((0, 3), np.uint8)}
    nav = _delta("nav", [-1, 2, "walker"], nav_body, nav_arrays)
    return {
        "welcome": p.pack(p.Welcome(session="s", server="0.1.0", clock_ns=CAPTURE_NS, limits=limits, scenes=[scene])),
        "snapshot_begin": p.pack(p.SnapshotBegin(scene=scene, seq=42, entries=2, resumed=False)),
        "snapshot_end": p.pack(p.SnapshotEnd(scene="main", seq=42)),
        "nav": nav,
        "nav_short": short(nav_that_packs()),
        "occluder_short": short(occluder(12)),
        "mesh": _delta("mesh", [0, 0], mesh_body, mesh_arrays),
        "pose": _delta("pose", ["s1"], pose_body, {}),
        "occluder": occluder(12),
        "occluder_large": occluder(24),
        "depth": depth(),
        "no_points": _delta("points", [123], points_body, points_arrays),
        "remove": p.pack(p.Remove(scene="main", seq=44, layer="nav", key=[-1, 2, "walker"], ver=8)),
        "xform": p.pack(
            p.Xform(
                scene="main",
                seq=45,
                epoch=4,
                scale=2.0,
                quat_wxyz=(0.5**0.5, 0.0, 0.5**0.5, 0.0),
                translation_m=(1.0, 0.0, 0.0),
                reason="scale",
            )
        ),
        "synced": p.pack(p.Synced(scene="main", resume=resume)),
        "event": p.pack(p.Event(scene="main", seq=46, name="stream_joined", data={"stream": "s1"})),
        "pong": p.pack(p.Pong(t0_ns=CAPTURE_NS, t1_ns=CAPTURE_NS + 5, t2_ns=CAPTURE_NS + 7)),
        "error": p.pack(p.Error(code="unknown_scene", detail="no scene of that name")),
    }


def _delta(
    layer: p.Layer,
    key: list[int | str],
    body: dict[str, object],
    arrays: dict[str, np.ndarray],
    codecs: dict[str, p.PackedAs] | None = None,
) -> bytes:
    buffers, payload = p.pack_buffers(arrays, codecs)
    stamps = {"capture_ns": CAPTURE_NS, "infer_ns": CAPTURE_NS + 80_000_000, "publish_ns": CAPTURE_NS + 95_000_000}
    delta = p.Delta(scene="main", seq=43, epoch=3, layer=layer, key=key, ver=7, body=body, buffers=buffers, **stamps)
    return p.pack(delta, payload)


def occluder(size: int) -> bytes:
    """A hilly grid of `size` x `size` corners, packed; every fourth triangle is drawn at random for hard cases."""
    rng = np.random.default_rng(size)
    x, z = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    y = 40 * np.sin(x / 5) + 1000 * (rng.random((size, size)) < 0.05)
    vertices = np.stack([25 * x, y, 25 * z], axis=-1).reshape(-1, 3).astype(np.int16)
    corner = (x * size + z)[:-1, :-1].reshape(-1, 1, 1)
    triangles = (corner + np.array([[0, 1, size], [size, 1, size + 1]])).reshape(-1, 3)
    triangles[::4] = rng.integers(0, size * size, triangles[::4].shape)
    arrays = {"vertices": vertices, "indices": triangles.astype(np.uint16 if size < 16 else np.uint32)}
    codecs: dict[str, p.PackedAs] = {"vertices": "meshopt_vertices", "indices": "meshopt_triangles"}
    return _delta("occluder", [0, size], {"origin_m": [0.0, 0.0, 0.0], "step_m": 0.004}, arrays, codecs)


def nav_that_packs() -> bytes:
    """Two polygons whose neighbours follow from them, at three sides of the tile, and a blob."""
    verts = np.array([[0, 4096, 0], [20, 4097, 0], [64, 4090, 30], [0, 4096, 30], [64, 200, 0]], np.uint16)
    polys = np.array([[0, 3, 2, 1, 0xFFFF, 0xFFFF], [1, 2, 4, 0xFFFF, 0xFFFF, 0xFFFF]], np.uint16)
    arrays = {
        "verts": verts,
        "polys": polys,
        "neighbours": polygons.neighbours_of(verts, polys),
        "areas": np.array([63, 61], np.uint8),
        "blob": np.arange(7, dtype=np.uint8),
    }
    body = {"agent": "walker", "origin_m": [3.25, -102.5, -6.5], "cell_size_m": 0.05, "cell_height_m": 0.025}
    return _delta("nav", [-1, 2, "walker"], body, arrays)


def depth() -> bytes:
    """A ramp with a hole and jumps to either end of the range."""
    z = (np.arange(7)[:, None] * 900 + np.arange(9) * 7).astype(np.uint16)
    z[2, 3], z[4, 4], z[6, 8] = 0, 65535, 1
    body = {
        "stream": "s1",
        "frame": 17,
        "world_from_camera": {"t": [1.0, 1.5, -2.0], "q_wxyz": [0.5, 0.5, 0.5, 0.5]},
        "K": [8.0, 8.0, 4.5, 3.5, 9, 7],
        "step_m": 0.001,
    }
    return _delta("depth", ["s1"], body, {"z": z}, {"z": "planes"})


def zstd_cases() -> bytes:
    """Arrays of every texture at several levels: `u32 raw_len | u32 packed_len | raw | packed`, one after the other."""
    rng = np.random.default_rng(1)
    size = 3000
    textures = (
        rng.integers(0, 256, size, dtype=np.uint8).tobytes(),
        bytes(size),
        rng.integers(0, 4, size, dtype=np.uint8).tobytes(),
        np.clip(rng.normal(128, 9, size), 0, 255).astype(np.uint8).tobytes(),
        np.cumsum(rng.integers(-3, 4, size // 2)).astype(np.int16).tobytes(),
        np.arange(size, dtype=np.uint16).tobytes(),
        np.repeat(rng.integers(0, 256, 60, dtype=np.uint8), rng.integers(1, 100, 60)).tobytes(),
        b"x",
    )
    out = b""
    for raw in textures:
        for level in (-5, 1, 3, 19):
            packed = zstandard.ZstdCompressor(level=level, write_checksum=level == 3).compress(raw)
            out += struct.pack("<II", len(raw), len(packed)) + raw + packed
    return out


def constants() -> dict[str, object]:
    """Constants that both sides must agree on."""
    return {
        "subprotocol": p.SUBPROTOCOL,
        "layers": list(p.LAYERS),
        "default_layers": list(p.DEFAULT_LAYERS),
        "codecs": list(p.CODECS),
        "max_buffer_bytes": p.MAX_BUFFER_BYTES,
    }


def decoded() -> dict[str, object]:
    """What the Python SDK makes of the packed frames."""
    out: dict[str, object] = {}
    for name, frame in frames().items():
        if name.startswith("occluder") or name in ("depth", "nav_short"):
            _, arrays = p.unpack_server(frame)
            out[name] = {key: array.ravel().tolist() for key, array in arrays.items()}
    return out


def main() -> None:
    FIXTURES.mkdir(exist_ok=True)
    for name, frame in frames().items():
        (FIXTURES / f"{name}.bin").write_bytes(frame)
    (FIXTURES / "zstd_cases.bin").write_bytes(zstd_cases())
    (FIXTURES / "decoded.json").write_text(json.dumps(decoded()) + "\n")
    (FIXTURES / "constants.json").write_text(json.dumps(constants(), indent=2) + "\n")


if __name__ == "__main__":
    main()
