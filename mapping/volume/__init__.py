"""What the cameras saw, fused: a signed distance field in sparse voxels, and what is read out of it.

Enter: depth maps with poses. Leave: blocks of voxels that changed, triangles, whether a point can be seen from a place.
May import: `mapping.transforms`, `mapping.changes`, `mapping.kernels`; numpy, numba, OpenCV. Metres throughout.
"""
