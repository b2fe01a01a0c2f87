"""One thing as a mesh, or as Gaussians: out of posed pictures, a photo, words or a folder; and made ready for games.

Enter: pictures with depth and pose (`capture/`), one photo (`relief`), a text (`prims/`, `shelf`), or a file. Leave:
`mesh.Mesh`, which stands on its pivot in metres, +Y up; what a game wants of it (levels of detail, hulls, an atlas with
a baked picture, a thumbnail, measured quality); and files in every format of `formats/`; GLB is the authority, with
variants that are packed for the wire (`meshopt`) and for the GPU (`basisu`). What generators make of Gaussians goes
through `splats/`. Files of others are read by `reading`.

Everything is a function of its arguments: no sockets, no disk, no clock, no randomness without a seed. May import of
ours: mapping's `transforms`, `changes`, `kernels`, `volume`, `exporters`, and `streams.frame`. Each heavy library stays
in one file: manifold3d in `solid`, meshoptimizer in `decimation`, xatlas in `atlas`, vhacdx in `collision`, ezdxf in
`formats/dxf`, pxr in `formats/usdz`; trimesh in two, `glb` and `foreign`.
"""
