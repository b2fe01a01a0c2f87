"""Windows of keyframes in, one fused world out.

Enter: `streams.frame.Frame` (pixels, and whatever else a camera knows). Leave: `tracker.Tracked` for every frame and
`changes.MapChange` for every step of the map; `changes.VoxelSource` shows the voxels to the floors above.

Read `scene_map.py` first: it is the story. `tracker.py` poses cameras, `engines/` turn windows into depth, `tsdf.py`
fuses depth, `anchor.py`, `gravity.py`, `scale.py` and `markers.py` make the world upright, metric and shared,
`surface.py` gives triangles, `store.py` keeps a scene through a crash.

May import from ours: `streams.frame`, nothing else. No sockets, no event loop, no clock: time comes in as an argument.
torch stays inside `engines/`, zarr inside `store.py`.
"""
