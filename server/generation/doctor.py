"""Can this provider work here? Each finding says OK, or what to do."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator

from server.doctor import Finding
from server.generation import memory
from server.generation.gate import GateMemory
from server.generation.opened import Config
from server.generation.process import ProviderProcess, WorkerGone
from server.generation.registry import Known, Registry


async def examine(config: Config, name: str, device: str) -> AsyncIterator[Finding]:
    """Look at a provider from its terms to its loading, until something is in the way."""
    try:
        known = Registry(config.registry).get(name)
    except Exception as error:
        yield Finding("provider", False, str(error))
        return
    yield _terms(config, known)
    for lack in known.lacks:
        yield Finding(lack.kind, False, f"{lack.what}: {lack.todo}")
    if known.lacks:
        return
    yield Finding("needs", True, "nothing is missing that can be told without loading it")
    if shutil.which(known.python) is None:
        yield Finding("python", False, f"{known.python} cannot be run; set generation.registry.providers.{name}.python")
        return
    workers = config.lane.workers
    room = await asyncio.to_thread(memory.room_on, device)
    needed_gb = known.description.vram_gb
    free = "nobody knows what is free" if room is None else f"{room.free_gb:.1f} GB are free"
    yield Finding("memory", memory.fits(room, needed_gb, workers.memory), f"{needed_gb:g} GB on {device}; {free}")
    gate = GateMemory.create()
    try:
        worker = await ProviderProcess.spawn(known, device, gate, workers.process)
    except WorkerGone as error:
        yield Finding("process", False, f"{known.python} does not start it: {error}")
        return
    finally:
        gate.close()
    try:
        yield Finding("process", True, known.python)
        yield await _loading(worker, workers.process.load_timeout_s)
    finally:
        await worker.close(workers.process.close_timeout_s)


def _terms(config: Config, known: Known) -> Finding:
    licence, territory = known.description.licence, config.registry.territory
    if territory is not None and territory in licence.excluded:
        return Finding("licence", False, f"{licence.spdx} does not hold in {territory}; jobs for it are refused")
    notes = [licence.spdx, licence.notes]
    if not licence.commercial:
        notes.append("no commercial use: only for jobs that name it")
    if licence.gated:
        notes.append("its weights are handed out on request")
    if licence.excluded:
        notes.append(f"not in {', '.join(licence.excluded)}")
    return Finding("licence", True, "; ".join(filter(None, notes)))


async def _loading(worker: ProviderProcess, timeout_s: float) -> Finding:
    try:
        async with asyncio.timeout(timeout_s):
            last = await worker.load()
    except TimeoutError:
        return Finding("loading", False, f"it was not loaded within {timeout_s:g} s")
    if last["type"] == "loaded":
        return Finding("loading", True, f"in {last['seconds']:.1f} s; {last['vram_gb'] or last['rss_gb']:.2f} GB")
    hint = f"; {last['hint']}" if last.get("hint") else ""
    return Finding("loading", False, f"{last.get('message', 'it died')}{hint}")
