"""A pose for every frame of one camera: `tracker.py` tells it, the others are small machines of their own.

Enter: gray images, pixels, rays. Leave: pixels, poses, landmarks. May import: `mapping.transforms`, `streams.frame`;
numpy, numba, OpenCV, poselib. Nothing here knows of streams, threads or clocks.

Units. A *pixel* is a position in the tracking image in OpenCV's convention (centres at integers; the shift from
the house's +0.5 happens in `lens.py` alone). An *ideal pixel* is an undistorted offset from the principal point, scaled
to one focal length for the whole life of a map: `u = focal * x / z`. Poses of the map are `camera_from_map` (3, 4).
"""
