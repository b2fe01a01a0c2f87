"""`make wheel` gives one file that installs into an empty environment, on a machine without Recast and without Node."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Walks over a tile that it builds itself, and says which Recast and Detour are in memory then.
WALK = """
from pathlib import Path
import numpy as np
from navmesh.recast import WALKABLE, Agent, Config, TileFrame, World, build_from_spans
from navmesh.tiles import TileKey
from server.api.pages import default_folder

frame = TileFrame(TileKey(0, 0), 0.05, 0.025, border_cells=10)
x, z = (i.ravel() for i in np.indices((frame.side_cells, frame.side_cells)))
spans = np.column_stack([x, z, 0 * x, 0 * x + 4, 0 * x + WALKABLE]).astype(np.uint16)
world = World(3.2, (0.0, 0.0, 0.0))
world.set(TileKey(0, 0), build_from_spans(spans, frame, Agent(), Config()).blob)
assert len(world.path((0.1, 0.0, 0.1), (3.0, 0.0, 3.0), (1.0, 1.0, 1.0))[0]) == 2
assert (default_folder() / "index.html").is_file(), "the web pages are in the wheel"
mapped = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
print(*sorted(path for path in mapped if "Recast" in path or "Detour" in path), sep="\\n")
"""


def run(*command: str | Path, **how: object) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=environment, **how)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_wheel_stands_alone(tmp_path: Path) -> None:
    name = run(ROOT / "scripts" / "wheel.sh", cwd=ROOT).splitlines()[-1]
    wheel = ROOT / name
    assert "manylinux" in wheel.name
    assert wheel.stat().st_size < 3e6
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    libraries = run(*without_recast(), python, "-c", WALK, cwd=tmp_path).split()
    assert len(libraries) == 2
    assert all(path.startswith(str(tmp_path)) for path in libraries), f"not from the wheel: {libraries}"
    help_text = run(tmp_path / "venv" / "bin" / "commonground", "--help", cwd=tmp_path)
    assert "serve" in help_text


def without_recast() -> list[str]:
    """A prefix for commands that hides the system's libraries from them, where we may do that."""
    system = [
        str(p) for p in Path("/usr/lib").glob("*-linux-gnu/lib*.so*") if p.name.startswith(("libRecast", "libDetour"))
    ]
    if sys.platform != "linux" or shutil.which("unshare") is None:
        return []
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        return []
    hide = "".join(f"mount --bind /dev/null {path} && " for path in system if not Path(path).is_symlink())
    return ["unshare", "--mount", "sh", "-c", hide + 'exec "$@"', "sh"]
