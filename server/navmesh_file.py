"""The whole NavMesh as a file, made of the very tiles that clients were sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from numpy.typing import NDArray

from navmesh import exporters
from navmesh.exporters import ExportError
from navmesh.tiles import NavTile, TileKey
from server.protocol import Delta, ProtocolError, unpack_server


def navmesh_file(frames: Iterable[bytes], epoch: int, suffix: str, agent: str | None = None) -> bytes:
    """Encode the tiles among published messages; those of older epochs lie in a world that is gone.

    Args:
        suffix: `bin`, `glb` or `obj`.
        agent: whose; None = the only one there is.

    Raises:
        ExportError: there is no such format or agent, or nothing is walkable.
    """
    exporter = exporters.create(suffix)
    tiles = list(_tiles(frames, epoch))
    agents = sorted({tile.agent for tile in tiles})
    if agent is None and len(agents) > 1:
        raise ExportError(f"name an agent: {', '.join(agents)}")
    if agent is not None and agents and agent not in agents:
        raise ExportError(f"no agent {agent!r} walks this map; there are {', '.join(agents)}")
    return exporter.encode(exporters.whole(tiles, agent or "".join(agents[:1])))


def _tiles(frames: Iterable[bytes], epoch: int) -> Iterator[NavTile]:
    for frame in frames:
        try:
            message, arrays = unpack_server(frame)
        except ProtocolError:
            continue
        if isinstance(message, Delta) and message.layer == "nav" and message.epoch == epoch:
            yield _tile(message, arrays)


def _tile(message: Delta, arrays: dict[str, NDArray[Any]]) -> NavTile:
    x, z, agent = message.key
    body = message.body
    ox, oy, oz = body["origin_m"]
    return NavTile(
        key=TileKey(int(x), int(z)),
        agent=str(agent),
        origin_m=(ox, oy, oz),
        cell_size_m=body["cell_size_m"],
        cell_height_m=body["cell_height_m"],
        verts=arrays["verts"],
        polys=arrays["polys"],
        neighbours=arrays["neighbours"],
        areas=arrays["areas"],
        blob=arrays["blob"].tobytes(),
    )
