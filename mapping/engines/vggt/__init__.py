"""VGGT (Wang et al. 2025) by our own hand: a window of pictures to poses, depth and confidence in one pass.

Enters: a window. Leaves: depth and confidence of its newest view, poses of all, in the frame and unit of the priors
where the views have some. Needs PyTorch (`pip install commonground[vggt]`) and, unless a test asks for seeded weights, a
published checkpoint, which is never bundled and has a licence of its own. Torch is imported nowhere else.
"""

from __future__ import annotations
