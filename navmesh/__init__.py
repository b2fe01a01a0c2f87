"""Map changes in, tiles out: what can be walked on, and what hides things, on one tile grid.

Enters: `MapChange` and a window on the map's voxels (`mapping.changes`). Leaves: `TileChange` (`tiles`), only tiles
whose bytes differ from the ones before; paths and rays on them (`query`).

The way of a NavMesh tile: TSDF -> calm cells (`latch`) -> solid spans (`spans`) -> Recast (`recast`, the only file with
foreign calls) -> `NavTile` (`build`). The way of a mesh or occluder: TSDF -> triangles -> fewer of them (`coarsen`,
`triangles`) -> `SurfaceTile` (`occlusion`, `culling`). `incremental` decides which tiles to build, and when (`paced`).

May import of mapping only `changes`, `transforms`, `surface` and the exporter contract; asyncio not at all.
"""
