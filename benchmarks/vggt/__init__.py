"""VGGT: is ours the published network, and what does a window of it cost?

`python -m benchmarks.vggt --golden FILE.npz [--config tiny|1b] --json` compares one stored output of the published
with ours. Without `--golden`: the tiny goldens here compared; arithmetic and memory of the full network, counted;
milliseconds by part of the tiny one (`--time`: of the full one); on a GPU all that matters there, beside the plain
published forward in the same run (less than 8 minutes).
"""
