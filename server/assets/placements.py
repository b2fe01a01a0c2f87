"""Where assets and slots stand in maps; when a map is corrected as a whole, they move with it.

The corrections themselves are kept, so that a pose measured before one is carried into the present, and so that poses
which are ahead of a map (the map lost its last half second in a crash) can be taken back.
"""

from __future__ import annotations

import json
import logging
from typing import Any, Literal

import numpy as np

from mapping.transforms import Sim3, quat_from_rotation, rotation_from_quat
from server.api.contract import Conflict
from server.assets.database import Change, Database
from server.assets.values import Placement

Kind = Literal["asset", "slot"]
KEEP_MOVES = 256
log = logging.getLogger(__name__)


class Placements:
    """One placement for each asset or slot that has one."""

    def __init__(self, database: Database) -> None:
        self._db = database.connection

    def get(self, kind: Kind, id: str) -> Placement | None:
        row = self._db.execute("SELECT body FROM placements WHERE kind = ? AND id = ?", (kind, id)).fetchone()
        return None if row is None else Placement.model_validate_json(row[0])

    def put(self, change: Change, kind: Kind, id: str, placement: Placement) -> Placement:
        """Place something; the placement in coordinates of the map's present epoch.

        Raises:
            Conflict: its epoch is not known (any more).
        """
        present = self.present(placement)
        if present != self.get(kind, id):
            self._save(change, kind, id, present)
        return present

    def present(self, placement: Placement) -> Placement:
        """The same place in coordinates of the map's present epoch.

        Raises:
            Conflict: its epoch is not known (any more).
        """
        row = self._db.execute("SELECT epoch FROM maps WHERE scene = ?", (placement.scene,)).fetchone()
        if row is None:
            raise Conflict(f"there is no map of a scene {placement.scene!r}")
        (epoch,) = row
        carried = placement
        select = "SELECT epoch, body FROM moves WHERE scene = ? AND since = ?"
        while move := self._db.execute(select, (placement.scene, carried.epoch)).fetchone():
            carried = _carried(carried, _unpacked(move[1]), move[0])
        if carried.epoch != epoch:
            detail = f"the map of {placement.scene!r} is at epoch {epoch}; {placement.epoch} is not known any more"
            raise Conflict(detail, epoch=epoch)
        return carried

    def remove(self, kind: Kind, id: str) -> None:
        self._db.execute("DELETE FROM placements WHERE kind = ? AND id = ?", (kind, id))

    def open_map(self, change: Change, scene: str, lineage: str, epoch: int) -> None:
        """A map is there. Poses of another map of that name are void; those ahead of it are taken back."""
        row = self._db.execute("SELECT lineage, epoch FROM maps WHERE scene = ?", (scene,)).fetchone()
        if row is not None and row[0] != lineage:
            self._db.execute("DELETE FROM placements WHERE scene = ?", (scene,))
        if row is None or row[0] != lineage:
            self._db.execute("DELETE FROM moves WHERE scene = ?", (scene,))
        elif epoch < row[1]:
            select = "SELECT since, body FROM moves WHERE scene = ? AND epoch > ? ORDER BY epoch DESC"
            for since, body in self._db.execute(select, (scene, epoch)).fetchall():
                self._carry_all(change, scene, _unpacked(body).inverse(), since)
            self._db.execute("DELETE FROM moves WHERE scene = ? AND epoch > ?", (scene, epoch))
        elif epoch > row[1]:
            log.warning("a map was corrected unseen; what stands in it may be off", extra={"scene": scene})
            self._carry_all(change, scene, None, epoch)
        self._db.execute("INSERT OR REPLACE INTO maps VALUES (?, ?, ?)", (scene, lineage, epoch))

    def move_map(self, change: Change, scene: str, new_from_old: Sim3, epoch: int) -> None:
        """A new epoch: everything lies at `new_from_old` of where it was."""
        row = self._db.execute("SELECT epoch FROM maps WHERE scene = ?", (scene,)).fetchone()
        if row is None or epoch <= row[0]:
            return
        self._db.execute("INSERT INTO moves VALUES (?, ?, ?, ?)", (scene, row[0], epoch, _packed(new_from_old)))
        self._db.execute("DELETE FROM moves WHERE scene = ? AND epoch <= ?", (scene, epoch - KEEP_MOVES))
        self._db.execute("UPDATE maps SET epoch = ? WHERE scene = ?", (epoch, scene))
        self._carry_all(change, scene, new_from_old, epoch)

    def _carry_all(self, change: Change, scene: str, new_from_old: Sim3 | None, epoch: int) -> None:
        select = "SELECT kind, id, body FROM placements WHERE scene = ? ORDER BY kind, id"
        for kind, id, body in self._db.execute(select, (scene,)).fetchall():
            placement = Placement.model_validate_json(body)
            if new_from_old is None:
                moved = placement.model_copy(update={"epoch": epoch})
            else:
                moved = _carried(placement, new_from_old, epoch)
            self._save(change, kind, id, moved)

    def _save(self, change: Change, kind: Kind, id: str, placement: Placement) -> None:
        values = (kind, id, placement.scene, placement.model_dump_json())
        self._db.execute("INSERT OR REPLACE INTO placements VALUES (?, ?, ?, ?)", values)
        told: dict[str, Any] = {kind: id, "placement": placement.model_dump(mode="json")}
        change.emit(f"{kind}.moved", f"{kind}-placement/{id}", placement.scene, told)


def _carried(placement: Placement, new_from_old: Sim3, epoch: int) -> Placement:
    rotation = rotation_from_quat(placement.quat_wxyz)
    old_from_asset = Sim3(placement.scale, rotation, np.array(placement.position_m))
    new_from_asset = new_from_old @ old_from_asset
    px, py, pz = (float(v) for v in new_from_asset.translation)
    w, x, y, z = (float(v) for v in quat_from_rotation(new_from_asset.rotation))
    scale = float(new_from_asset.scale)
    return Placement(scene=placement.scene, epoch=epoch, position_m=(px, py, pz), quat_wxyz=(w, x, y, z), scale=scale)


def _packed(move: Sim3) -> str:
    return json.dumps([float(move.scale), move.rotation.tolist(), move.translation.tolist()])


def _unpacked(body: str) -> Sim3:
    scale, rotation, translation = json.loads(body)
    return Sim3(scale, np.array(rotation), np.array(translation))
