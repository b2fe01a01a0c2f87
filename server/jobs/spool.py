"""Files of jobs, a folder each: `in` holds what a job brought, `out-...` what its attempts make. One thread uses it.

What jobs brought is limited all together, and goes with them: at once when one succeeded, after a while when somebody
may still ask for a retry. What an attempt made goes when it is settled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mapping import disk
from server.assets.blobs import StorageFull
from server.jobs import inputs
from server.jobs.inputs import Folder, Upload
from server.jobs.values import InputFile


class Spool:
    """A folder of them."""

    def __init__(self, folder: Path, max_bytes: int, is_known: Callable[[str], bool]) -> None:
        """Removes what is nobody's (any more).

        Raises:
            OSError: the folder cannot be used.
        """
        self._folder, self._max_bytes = folder, max_bytes
        self._size_by_job: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if not is_known(path.name):
                disk.remove(path)
                continue
            for made in path.glob("out-*"):  # by an attempt that the server's end cut short
                disk.remove(made)
            self._size_by_job[path.name] = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())

    def path(self, job: str) -> Path:
        return self._folder / job

    def take(self, job: str, uploads: Sequence[Upload | Folder], files: Sequence[InputFile]) -> None:
        """Store what a job brings; on the disk when this returns, and when it raises, nothing is.

        Raises:
            StorageFull: the disk is full, or as much as jobs may bring is here already.
        """
        if not files:
            return
        size, used = sum(file.size for file in files), sum(self._size_by_job.values())
        if used + size > self._max_bytes:
            raise StorageFull(f"waiting jobs hold {used} bytes of files; all together may hold {self._max_bytes}")
        try:
            inputs.store(self.path(job) / "in", uploads, files)
        except BaseException:
            disk.remove(self.path(job))
            raise
        self._size_by_job[job] = size

    def drop(self, *jobs: str) -> None:
        """Their files are not needed any more."""
        for job in jobs:
            self._size_by_job.pop(job, None)
            disk.remove(self.path(job))

    def holding(self, jobs: Iterable[str]) -> list[str]:
        """Those of the jobs that have files here."""
        here = {path.name for path in self._folder.iterdir()}
        return [job for job in jobs if job in here]
