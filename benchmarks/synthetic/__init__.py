"""A textured flat with exact truth: five rooms, six doors, furniture and a printed marker.

Leaves: images with exact depth, pose and K (`Flat.render`), closed hand-held walks (`walks`), where an agent can stand
(`walkable`), doors, walls and the marker (`Flat.plan`), and recordings of walks as folders or videos. Everything is
procedural and seeded: nothing is downloaded and two runs give the same bytes. Imports mapping.transforms and
streams.frame only, so that tests of every floor can use it.

    flat = build()
    clockwise, counterclockwise = walks()
    for time_s, view in frames(flat, clockwise, fps=10):
        view.rgb, view.depth_m, view.world_from_camera, view.intrinsics
"""

from benchmarks.synthetic.clip import FPS, INTRINSICS, Recording, cached, cached_path, export, frames, record
from benchmarks.synthetic.flat import Flat, View, build
from benchmarks.synthetic.floor import FloorGrid, walkable
from benchmarks.synthetic.plan import Box, Door, Marker, Plan
from benchmarks.synthetic.walk import Walk, walks

__all__ = [
    "FPS",
    "INTRINSICS",
    "Box",
    "Door",
    "Flat",
    "FloorGrid",
    "Marker",
    "Plan",
    "Recording",
    "View",
    "Walk",
    "build",
    "cached",
    "cached_path",
    "export",
    "frames",
    "record",
    "walkable",
    "walks",
]
