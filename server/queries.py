"""Asks live maps beside the event loop: a few threads, a bounded queue, a budget for each batch.

Tiles are swapped into the NavMesh before they are published, so an answer may rest on newer tiles than its `ver`
says, never on older ones: at worst a client asks once more than it had to.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from navmesh.tiles import TILE_CELLS
from server import answers, sight
from server.answers import Found
from server.api.contract import Busy, Conflict, Unprocessable
from server.api.queries_contract import Answer, BatchAnswer, Question, TileVersion, VisibleQuestion
from server.bus.channel import Channel, EntryKey
from server.scene import Scene


class Config(BaseModel):
    """How much may be asked."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    threads: int = Field(default=2, gt=0)
    max_waiting: int = Field(default=64, gt=0)
    """Requests that wait or are being answered; more get 503."""
    budget_s: float = Field(default=0.1, gt=0)
    """What a batch may take; questions that come too late in it are told so."""
    sight_budget_s: float = Field(default=0.05, gt=0)
    """The same for lines of sight, for which the map has to pause."""
    patience_s: float = Field(default=0.5, gt=0)
    """How long lines of sight wait for the map, which may be busy with a keyframe."""


class Queries:
    """Questions and answers for all scenes of a server."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._executor = ThreadPoolExecutor(config.threads, thread_name_prefix="queries")
        self._waiting = 0

    def close(self) -> None:
        """Take no more questions."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def ask(self, scene: Scene, questions: Sequence[Question], epoch: int | None) -> BatchAnswer:
        """Answer every question on one epoch of the map.

        Raises:
            Unprocessable: an agent is unknown.
            Conflict: the coordinates are of another epoch, or a new one opened meanwhile.
            Busy: too many are asking.
        """
        channel, query = scene.channel, scene.writer.query
        _check_agents(questions, query.agents)
        if epoch is not None and epoch != channel.epoch:
            raise _moved(channel.epoch)
        if self._waiting >= self._config.max_waiting:
            raise Busy("too many queries are waiting; ask again in a moment", retry_after_s=1)
        began_epoch, began_seq, was_settled = channel.epoch, channel.seq, scene.writer.is_settled
        self._waiting += 1
        try:
            found = await asyncio.gather(self._walk(scene, questions), self._look(scene, questions))
        finally:
            self._waiting -= 1
        if not began_epoch == channel.epoch == scene.writer.query_epoch:
            raise _moved(max(channel.epoch, scene.writer.query_epoch))
        walks, looks = iter(found[0]), iter(found[1])
        in_order = [next(looks if isinstance(question, VisibleQuestion) else walks) for question in questions]
        facts = {
            "epoch": began_epoch,
            "tile_size_m": _tile_size_m(scene),
            "is_settled": was_settled and scene.writer.is_settled,
        }
        return BatchAnswer(
            epoch=began_epoch, answers=tuple(_finish(one, channel, began_seq, facts) for one in in_order)
        )

    async def _walk(self, scene: Scene, questions: Sequence[Question]) -> list[Found]:
        """Those about the NavMesh, by a thread of our own."""
        walks = [question for question in questions if not isinstance(question, VisibleQuestion)]
        if not walks:
            return []
        query, tile_size_m = scene.writer.query, _tile_size_m(scene)

        def work() -> list[Found]:
            deadline_s = time.monotonic() + self._config.budget_s
            return [
                answers.answer(walk, query, tile_size_m) if time.monotonic() < deadline_s else answers.unanswered(walk)
                for walk in walks
            ]

        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def _look(self, scene: Scene, questions: Sequence[Question]) -> list[Found]:
        """Those about the voxels, by the thread that writes them, between two of its steps."""
        looks = [sight.prepare(one, scene.channel) for one in questions if isinstance(one, VisibleQuestion)]
        if not looks:
            return []
        world, tile_size_m, epoch = scene.writer.map, _tile_size_m(scene), scene.channel.epoch

        def work() -> list[Found]:
            if world.status.epoch != epoch:
                raise _moved(world.status.epoch)
            deadline_s = time.monotonic() + self._config.sight_budget_s
            return [
                sight.look(at, world, tile_size_m) if time.monotonic() < deadline_s else sight.unanswered()
                for at in looks
            ]

        try:
            return await asyncio.wait_for(scene.write(work), self._config.patience_s)
        except TimeoutError:
            return [sight.unanswered() for _ in looks]


def _check_agents(questions: Sequence[Question], agents: Sequence[str]) -> None:
    for question in questions:
        if not isinstance(question, VisibleQuestion) and question.agent not in (None, *agents):
            known = ", ".join(agents)
            raise Unprocessable(f"no agent {question.agent!r} walks this map; there are {known}", agents=list(agents))


def _moved(epoch: int) -> Conflict:
    return Conflict(f"the map is at epoch {epoch}; bring your coordinates there (its xform) and ask again", epoch=epoch)


def _finish(found: Found, channel: Channel, began_seq: int, facts: dict[str, Any]) -> Answer:
    tiles = tuple(_version(channel, key, began_seq) for key in found.tiles)
    return found.answer.model_copy(update=facts | {"tiles": tiles})


def _version(channel: Channel, key: EntryKey, began_seq: int) -> TileVersion:
    entry = channel.get(key)
    is_sure = entry is not None and entry.seq <= began_seq
    layer, name = key
    return TileVersion(layer=layer, key=name, ver=entry.ver if entry is not None and is_sure else 0)  # type: ignore[arg-type]


def _tile_size_m(scene: Scene) -> float:
    return TILE_CELLS * scene.writer.map.voxels.voxel_size_m
