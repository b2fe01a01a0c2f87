"""One thing as a mesh: made from posed pictures, from one photo, from words, or taken from a folder; and made ready.

Enter: pictures with depth and pose (`capture/`), one photo (`relief`), a text (`prims/`, `shelf`), or a file. Leave:
`mesh.Mesh`, which stands on its pivot in metres, +Y up; what a game wants of it (levels of detail, hulls, an atlas with
a baked picture, a thumbnail, measured quality); and files in every format of `formats/`; GLB is the authority.

Everything is a function of its arguments: no sockets, no disk, no clock, no randomness without a seed. May import of
ours: mapping's `transforms`, `changes`, `kernels`, `volume`, `exporters`, and `streams.frame`. Each heavy library stays
in one file: trimesh in `glb`, manifold3d in `solid`, meshoptimizer in `decimation`, xatlas in `atlas`, vhacdx in
`collision`, ezdxf in `formats/dxf`, pxr in `formats/usdz`.
"""
