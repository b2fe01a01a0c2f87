"""What can be told of a GLB by its description alone, before anything in it is unpacked."""

from __future__ import annotations

import io
import struct

from PIL import Image, UnidentifiedImageError

from mapping.objects import chunks, ktx2
from mapping.objects.chunks import Tree
from mapping.objects.mesh import MeshError

MAX_BYTES = 256 << 20
MAX_ELEMENTS, MAX_NODES = 20_000_000, 10_000
MAX_TEXTURE_PX, MAX_TEXTURE_PIXELS = 8192, 8192 * 8192


def checked(data: bytes) -> Tree:
    """The description of a file that nobody vouches for.

    Raises:
        MeshError: it is no GLB, names what is not in it, or announces more than is read.
    """
    if len(data) > MAX_BYTES:
        raise MeshError(f"more than {MAX_BYTES >> 20} MB")
    tree, body = chunks.split(data)
    try:
        _check_buffers(tree)
        _check_nodes(tree)
        _check_counts(tree)
        _check_pictures(tree, body)
    except MeshError:
        raise
    except Exception as error:  # a broken file fails with whatever one trips over
        raise MeshError(f"a broken GLB: {type(error).__name__}: {error}") from error
    return tree


def _check_buffers(tree: Tree) -> None:
    for number, buffer in enumerate(tree.get("buffers", [])):
        if "uri" in buffer:
            raise MeshError(f"buffer {number} is elsewhere ({str(buffer['uri'])[:64]!r}): a GLB holds its bytes itself")


def _check_nodes(tree: Tree) -> None:
    """They must be trees: a reader may go round in a circle for ever, or double what hangs twice."""
    nodes = tree.get("nodes", [])
    children = [child for node in nodes for child in node.get("children", ())]
    roots = {root for scene in tree.get("scenes", []) for root in scene.get("nodes", ())}
    if not all(0 <= number < len(nodes) for number in (*children, *roots)):
        raise MeshError(f"a broken GLB: it names a node that is not among its {len(nodes)}")
    if len(set(children)) < len(children) or roots & set(children):
        raise MeshError("a broken GLB: a node hangs at two others, or at itself")


def _check_counts(tree: Tree) -> None:
    """A few bytes can announce gigabytes of zeros, or one mesh a thousand times: counted before anything is made."""
    counts = [max(0, int(accessor["count"])) for accessor in tree.get("accessors", [])]
    shapes = [_used(part) for part in tree.get("meshes", [])]
    nodes = tree.get("nodes", [])
    placed = sum(counts[i] for node in nodes if "mesh" in node for i in shapes[node["mesh"]])
    announced = max(sum(counts), placed)
    if announced > MAX_ELEMENTS or len(nodes) > MAX_NODES:
        raise MeshError(f"{announced} elements in {len(nodes)} nodes: at most {MAX_ELEMENTS} in {MAX_NODES} are read")


def _used(part: Tree) -> list[int]:
    """The accessors of a mesh, as often as it uses them."""
    primitives = part["primitives"]
    used = [i for one in primitives for i in (*one["attributes"].values(), one.get("indices")) if i is not None]
    if any(number < 0 for number in used):
        raise MeshError("a broken GLB: it names an accessor below 0")
    return used


def _check_pictures(tree: Tree, body: bytes) -> None:
    """All pictures together, whatever they are for; only their heads are read."""
    pixels = 0
    for image in tree.get("images", []):
        if "bufferView" not in image:
            raise MeshError("pictures are read from the file itself only")
        view = tree["bufferViews"][image["bufferView"]]
        begin = int(view.get("byteOffset", 0))
        width, height = _picture_px(body[begin : begin + int(view["byteLength"])])
        if max(width, height) > MAX_TEXTURE_PX:
            raise MeshError(f"a picture of {width} x {height} pixels is too large")
        pixels += width * height
    if pixels > MAX_TEXTURE_PIXELS:
        raise MeshError(f"pictures of {pixels} pixels are too large; at most {MAX_TEXTURE_PIXELS} are read")


def _picture_px(data: bytes) -> tuple[int, int]:
    """Width and height as the head of the picture has them."""
    if data.startswith(ktx2.IDENTIFIER):
        width, height = struct.unpack_from("<2I", data, 20)
        return width, height
    try:
        with Image.open(io.BytesIO(data)) as picture:
            return picture.size
    except UnidentifiedImageError:
        raise MeshError("a picture in the GLB is none that can be read") from None
