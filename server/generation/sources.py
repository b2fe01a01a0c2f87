"""What a job's pictures show of the thing that it wants: cut out of photos, or out of the map's keyframes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mapping.objects.capture import masks, region
from mapping.objects.capture.region import Box, Click, NothingThere, Outline, Pick
from mapping.objects.foreground import Foreground, OneColour, foreground
from mapping.objects.view import View, squared
from server.generation import keyframes
from server.generation.pictures import read, read_mask
from server.generation.provider import GenerationFailed, Request

Cut = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""A square picture (n, n, 3) with the thing in its middle, and where in it (n, n) the thing is."""


def cut_outs(request: Request, most: int) -> list[Cut]:
    """At most so many pictures of the thing, those from the most different sides first; none where none was given.

    Raises:
        GenerationFailed: `bad_input`, `unsuitable`.
    """
    try:
        if request.files.get("keyframes"):
            chosen = spread([view for view in seen(request).views.values() if view.mask is not None], most)
            return [squared(view.rgb, view.mask) for view in chosen if view.mask is not None]
        return [squared(view.rgb, view.mask) for view in photos(request)[:most] if view.mask is not None]
    except (keyframes.KeyframesBroken, KeyError, ValueError, TypeError) as error:
        code = "unsuitable" if isinstance(error, NothingThere) else "bad_input"
        raise GenerationFailed(code, f"{type(error).__name__}: {error}") from error


def photos(request: Request) -> list[View]:
    """The photos of a job with their masks, from nowhere in particular (the pose is the identity).

    Raises:
        GenerationFailed: `bad_input`, `unsuitable`.
    """
    from streams.frame import Intrinsics

    found: list[View] = []
    for path in (*request.files.get("image", ()), *request.files.get("images", ())):
        rgb, outline = outlined(path, () if found else request.files.get("mask", ()))
        height, width = rgb.shape[:2]
        found.append(View(rgb, np.eye(4), Intrinsics.from_fov(width, height), outline.mask))
    return found


def outlined(path: Path, masks_given: Sequence[Path] = ()) -> tuple[NDArray[np.uint8], Foreground]:
    """A photo (h, w, 3), and what of it is the thing: by a mask, by its own alpha channel, or as told from its border.

    Raises:
        GenerationFailed: `bad_input`: one cannot be decoded; `unsuitable`: the photo shows nothing.
    """
    picture = read(path, *masks_given[:1])
    try:
        given = picture.mask
        return picture.rgb, foreground(picture.rgb) if given is None else Foreground(given, ())
    except OneColour as error:
        raise GenerationFailed("unsuitable", str(error), hint="give a photo that shows the thing, or a mask") from error


def seen(request: Request) -> keyframes.Keyframes:
    """The keyframes that show what the job points at, each with the mask of it.

    Raises:
        KeyframesBroken, NothingThere, KeyError, ValueError, TypeError: the folder, the pick or the params are no good.
    """
    given = keyframes.read(request.files["keyframes"][0])
    views = list(given.views.values())
    place = region.find(views, pick(request, list(given.views), views))
    shown = masks.masked(views, place)
    return replace(given, views={str(number): view for number, view in enumerate(shown)})


def pick(request: Request, names: list[str], views: list[View]) -> Pick:
    """What the job points at, in pixels of one keyframe: see `providers/capture.py` for its params."""
    params = request.params
    name = params.get("keyframe", names[0])
    if name not in names:
        raise ValueError(f"keyframe {name!r} is not among those given")
    number = names.index(name)
    k = views[number].intrinsics
    if request.files.get("mask"):
        return Outline(number, read_mask(request.files["mask"][0], (k.height, k.width)))
    across, down = k.width / float(params.get("width_px", k.width)), k.height / float(params.get("height_px", k.height))
    if "box" in params:
        left, top, right, bottom = (float(v) for v in params["box"])
        return Box(number, left * across, top * down, right * across, bottom * down)
    if "click" in params:
        u_px, v_px = (float(v) for v in params["click"])
        return Click(number, u_px * across, v_px * down)
    raise ValueError("say what to capture: click [u, v], box [left, top, right, bottom], or a mask")


def spread(views: list[View], most: int) -> list[View]:
    """Views that look from the most different directions, the one that shows most of the thing first."""
    if not views:
        return []
    directions = np.stack([view.world_from_camera[:3, 2] for view in views])
    shown = [0 if view.mask is None else int(view.mask.sum()) for view in views]
    chosen = [int(np.argmax(shown))]
    while len(chosen) < min(most, len(views)):
        likeness = (directions @ directions[chosen].T).max(axis=1)
        likeness[chosen] = np.inf
        chosen.append(int(np.argmin(likeness)))
    return [views[i] for i in chosen]
