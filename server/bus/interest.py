"""What a client wants to have, wherever it lies: layers, and of the NavMesh perhaps only some agents'."""

from __future__ import annotations

from dataclasses import dataclass

from server.bus.channel import Entry
from server.protocol import Layer


@dataclass(frozen=True, slots=True)
class Interest:
    """Layers, and the agents whose `nav` tiles (and `islands`) are of use; None = all agents'."""

    layers: frozenset[Layer]
    agents: frozenset[str] | None = None

    def covers(self, entry: Entry) -> bool:
        if entry.layer not in self.layers:
            return False
        return self.agents is None or entry.layer not in ("nav", "islands") or entry.key[-1] in self.agents
