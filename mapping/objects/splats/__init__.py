"""A thing as Gaussians (Kerbl 2023) in place of triangles: the value, and the files that hold it.

`cloud.Splats` has activated values in our frame: +Y up, metres, sizes as lengths, opacities 0..1, quaternions wxyz.
Each file has its own way; modules here translate: `ply` (logarithms and logits, +Y down, as trained), `antimatter`
(`.splat`, 32 bytes each), `spz` (Niantic's) and `sog` (PlayCanvas's), both packed, and `gltf` (KHR_gaussian_splatting).
`drawing` makes a thumbnail, `finishing` all that is published.
"""
