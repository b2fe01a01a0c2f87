"""One call for two tasks: geometry of pictures, and a 3D asset of a picture or a text.

from clients.qpipe import process_qpipe_task
answer = process_qpipe_task("image-to-3d-asset", {"image": Path("mug.jpg"), "asset_name": "mug"})
if answer.success:
    print(answer.data["asset_id"], answer.data["asset_path"])
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from clients.address import tls_context

TIMEOUT_S = 660.0
"""Somewhat longer than the server waits for a job."""


@dataclass(frozen=True, slots=True)
class QpipeResponse:
    """What became of a task."""

    success: bool
    data: dict[str, Any]
    """Of `scene-geometry`: `cams` {extrinsic, intrinsic}, `depth`, `points`, `tracks`, `spatial_understanding`,
    `geometry_type`. Of `image-to-3d-asset`: `format`, `asset_path`, `texture_path`, `preview_path`, `asset_id`."""
    error: dict[str, Any] | None
    """`code`, `message`, `hint`."""


def process_qpipe_task(
    task: str,
    inputs: Mapping[str, Any],
    *,
    url: str = "https://localhost:8443",
    token: str | None = None,
    ca: str | os.PathLike[str] | bool = True,
) -> QpipeResponse:
    """Have a server do a task, and wait for it; whatever goes wrong is in the answer.

    Args:
        task: `scene-geometry` (inputs: `images`, `query_points`?) or `image-to-3d-asset` (inputs: `image`, `text`,
            `output_format`, `asset_type`, `asset_name`).
        inputs: pictures are files (`Path`), their bytes, or base64.
        ca: file of the server's certificate authority; False trusts any.

    Raises:
        ValueError: the URL is not a server's address.
        OSError: a picture or the authority's file cannot be read.
    """
    asked = {"task": task, "inputs": {name: _plain(value) for name, value in inputs.items()}}
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    request = urllib.request.Request(urljoin(url, "/qpipe/process"), json.dumps(asked).encode(), headers)
    https = urllib.request.HTTPSHandler(context=tls_context(url, ca))
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        return _failed(f"http_{error.code}", _detail(error))
    except (OSError, HTTPException) as error:
        return _failed("unreachable", f"cannot reach {url}: {error}", _hint(error))
    return QpipeResponse(told["success"], told["data"] or {}, told["error"])


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        value = value.read_bytes()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value


def _failed(code: str, message: str, hint: str = "") -> QpipeResponse:
    return QpipeResponse(False, {}, {"code": code, "message": message, "hint": hint})


def _hint(error: Exception) -> str:
    is_stranger = isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError)
    return 'a server with an authority of its own needs ca="var/tls/ca.pem"' if is_stranger else "is it running?"


def _detail(error: urllib.error.HTTPError) -> str:
    body = error.read(4096)
    try:
        return str(json.loads(body)["detail"])
    except (ValueError, KeyError, TypeError):
        return body.decode(errors="replace")
