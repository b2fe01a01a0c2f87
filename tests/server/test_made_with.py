"""What a map was made with outlives the process, and is told with the scene."""

from __future__ import annotations

from pathlib import Path

from mapping.store.scene_store import Store
from server.writer import Config, Writer

LEARNED = {"engine": "vggt", "weights": "VGGT-1B", "licence": "non-commercial (CC BY-NC 4.0)", "sha256": "ab12"}
CLASSICAL = {"engine": "classical"}


def writer_at(folder: Path) -> Writer:
    store = Store.open(folder, Config().store)
    writer = Writer("main", Config(), store)
    writer.restore(store.load())
    return writer


def test_every_engine_that_gave_a_map_depth_is_remembered_once(tmp_path: Path) -> None:
    writer = writer_at(tmp_path)
    for provenance in (LEARNED, CLASSICAL, LEARNED, {}):
        writer.note_maker(provenance)
    assert writer.made_with == [LEARNED, CLASSICAL]
    assert writer.save("lineage", 1, [])
    writer.store.commit()
    writer.store.close()
    again = writer_at(tmp_path)
    assert again.made_with == [LEARNED, CLASSICAL]
    again.store.close()
