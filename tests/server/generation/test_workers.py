"""Room on a device under a virtual clock: how long a provider waits for it before its jobs go elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server.generation import memory, workers
from server.generation.gate import GateMemory
from server.generation.provider import Description, Licence
from server.generation.registry import Known
from server.generation.workers import Config, NoRoom, Workers
from server.jobs.desk import Desk

BIG = Known(Description("big", "1", Licence("MIT"), ("text",), vram_gb=8.0), "big", "python", {})


class Device:
    """Its memory and the time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.free_gb = 1000.0, 1.0
        monkeypatch.setattr(memory, "room_on", lambda _: memory.Room(self.free_gb, 24.0))
        monkeypatch.setattr(workers, "time", SimpleNamespace(monotonic=lambda: self.now, time_ns=time.time_ns))

    async def ask(self, asked: Workers, for_s: float) -> Any:
        """Every two seconds for so long; the last answer."""
        until, answer = self.now + for_s, None
        while self.now <= until:
            answer = await asked.make_room(BIG)
            self.now += 2.0
        return answer


async def test_who_finds_no_room_is_turned_away_only_after_having_waited_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Desk.opened(tmp_path) as desk:
        device, gate = Device(monkeypatch), GateMemory.create()
        asked = Workers("cuda:0", gate, desk, Config(wait_for_room_s=60.0))
        for _ in range(2):
            assert not await device.ask(asked, 60.0)
            with pytest.raises(NoRoom):
                await device.ask(asked, 10.0)
        assert not await device.ask(asked, 30.0)
        device.now += 3600.0  # its job was cancelled, or something else ran
        assert not await device.ask(asked, 60.0), "that nobody asked is not waiting"
        device.free_gb = 20.0
        assert await device.ask(asked, 0.0)
        gate.close()
