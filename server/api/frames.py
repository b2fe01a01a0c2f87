"""Frames that bring their own poses: one multipart request each, kept in memory only."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import APIRouter, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from server.api.contract import Refused, Scenes
from server.api.guard import Guard
from server.api.whip import WrongType
from server.auth import Role
from server.config import LimitsConfig
from streams.frame import StreamId
