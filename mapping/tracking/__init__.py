"""The parts of the tracker, each a small machine of its own.

Enter: gray images, pixels, rays. Leave: pixels, poses, landmarks. May import: mapping.transforms, mapping.bundle,
mapping.two_view, streams.frame; numpy, numba, OpenCV, poselib. Nothing here knows of streams, threads or clocks.

Units. A *pixel* is a position in the tracking image in OpenCV's convention (centres at integers; the shift from
the house's +0.5 happens in `lens.py` alone). An *ideal pixel* is an undistorted offset from the principal point, scaled
to one focal length for the whole life of a map: `u = focal * x / z`. Poses of the map are `camera_from_map` (3, 4).
"""
