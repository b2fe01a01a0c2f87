"""The channels of all scenes: where a scene publishes and where clients find it."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from pydantic import BaseModel, ConfigDict, Field

from server.bus.channel import Channel
from server.bus.pace import Config as PaceConfig
from server.protocol import SceneInfo


class Config(BaseModel):
    """Bounds of what is kept for clients."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pace: PaceConfig = PaceConfig()
    max_message_bytes: int = Field(default=8 << 20, gt=0)
    """A larger message is not sent; a client may ask for less."""
    max_controls: int = Field(default=1024, gt=0)
    """Control messages and events that may wait for one client; more close it."""
    max_tombstones: int = Field(default=4096, ge=0)
    """Removed keys remembered per scene, so that clients can resume."""


class Bus:
    """One channel per open scene."""

    def __init__(self, config: Config | None = None) -> None:
        self.config = config or Config()
        self._channels: dict[str, Channel] = {}
        self._followers: list[Callable[[Channel], None]] = []

    def open(self, scene: str, *, lineage: str | None = None, epoch: int = 0) -> Channel:
        """Open a scene's channel. A new lineage (the default) makes clients start over.

        Raises:
            ValueError: the scene's channel is open already.
        """
        if scene in self._channels:
            raise ValueError(f"the channel of {scene!r} is open already")
        lineage = lineage or secrets.token_urlsafe(9)
        channel = Channel(scene, lineage, epoch=epoch, max_tombstones=self.config.max_tombstones)
        self._channels[scene] = channel
        for follower in self._followers:
            follower(channel)
        return channel

    def follow(self, follower: Callable[[Channel], None]) -> None:
        """Call `follower` with every channel: those that are open, and each that will be."""
        self._followers.append(follower)
        for channel in self._channels.values():
            follower(channel)

    def find(self, scene: str) -> Channel | None:
        return self._channels.get(scene)

    def close(self, scene: str) -> None:
        """Close a scene's channel; who listens is told by the event `scene_closed`."""
        if (channel := self._channels.pop(scene, None)) is not None:
            channel.announce("scene_closed", {})

    def infos(self) -> list[SceneInfo]:
        return [channel.info() for channel in self._channels.values()]
