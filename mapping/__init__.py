"""Windows of keyframes in, one fused world out.

Enter: `streams.frame.Frame` (pixels, and whatever else a camera knows). Leave: `tracked.Tracked` for every frame and
`changes.MapChange` for every step of the map; `changes.VoxelSource` shows the voxels to the floors above.

Read `scene_map.py` first: it is the story. `tracking/` poses cameras, `engines/` turn windows into depth, `volume/`
fuses depth, `metric/` says how long a metre is and which way is up, `world.py` keeps the cameras' frames together,
`bending.py` lets them give way to what is recognised, `window_pairs.py` tells what engines see together, `store/`
brings a scene through a crash, `exporters/` give it away; `objects/` makes single things out of it.

May import from ours: `streams.frame`, nothing else. No sockets, no event loop, no clock: time comes in as an argument.
torch stays inside `engines/`, zarr inside `store/`.
"""
