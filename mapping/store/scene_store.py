"""One scene on disk: a log that is durable at every commit, rolled up in the background into a zarr snapshot.

What is appended goes to the log's active segment. A roll-up starts a new segment, adds the older ones to the snapshot
under a new name (a zarr v3 group of whole shards, written once, never changed), and switches the manifest over: at
whatever instant the power goes, the manifest names one whole state. This is the only file that knows zarr.

A record is acknowledged once a `commit` that follows its `append` has returned: from then on `kill -9` cannot lose it.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from zarr.codecs import ZstdCodec

import mapping
from mapping import disk
from mapping.store import log
from mapping.store.directory import FORMAT, Manifest, SceneDirectory, StoreError
from mapping.store.log import LogWriter
from mapping.store.records import (
    EraseKeyframes,
    Record,
    RecordError,
    SceneMeta,
    StoredBlocks,
    StoredKeyframe,
    StoredPlace,
    decode,
    encode,
)
from mapping.store.state import SceneState
from streams.frame import StreamId

__all__ = ["Config", "Store", "StoreError"]

ROWS_PER_RECORD = 2048
"""Larger batches of blocks are cut into records of this many, still one group."""
ROWS_PER_CHUNK, ROWS_PER_SHARD = 64, 4096
BYTES_PER_CHUNK, BYTES_PER_SHARD = 1 << 20, 1 << 24
_BLOCK_COLUMNS = ("keys", "tsdf_m", "weight", "rgb")


class Config(BaseModel):
    """How one scene is kept on disk."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    retain_pixels: bool = False
    """Keep keyframes' pictures. Off: they never reach the disk, whatever is appended."""
    keyframe_ttl_s: float | None = Field(default=86_400.0, gt=0)
    """Stored keyframes older than this are erased by `expire`; None keeps them."""
    roll_up_above_bytes: int = Field(default=256 * 1024 * 1024, gt=0)
    """A roll-up is due when the log is larger than this and than the snapshot, which bounds what is written twice."""
    roll_up_process: bool = True
    """Roll up in a process of its own, so that this one's event loop and memory do not feel it."""


class Store:
    """One scene's directory, open in one process. Appending, committing and rolling up may run in different threads."""

    def __init__(self, directory: SceneDirectory, config: Config) -> None:
        """Use `Store.open`."""
        self.path, self.config = directory.path, config
        self._directory = directory
        self._writer_lock = threading.Lock()
        """Guards the active segment; held for memory and page cache only, never while the disk syncs."""
        self._commit_lock = threading.Lock()
        """One sync at a time, and none while the segment changes."""
        self._files_lock = threading.Lock()
        """Guards the manifest and what it names: one roll-up or load at a time."""
        self._active, self._writer = directory.recover()
        self._durable_sequence = self._writer.last_sequence
        self._oldest_capture_ns: int | None = 0 if self._durable_sequence else None
        """No stored keyframe is older; None = there are none. Guarded by the writer lock."""
        self._sealed_bytes = sum(directory.segment(n).stat().st_size for n in directory.segments()[:-1])
        self._snapshot_bytes = _tree_bytes(directory.snapshot)

    # -- opening and reading -------------------------------------------------------------------------------------------

    @classmethod
    def open(cls, path: Path | str, config: Config | None = None) -> Store:
        """Open a scene's directory, made if need be; a torn tail of the log (never acknowledged) is cut off.

        Raises:
            StoreError: another process has it open, it is damaged, or a newer version wrote it.
        """
        directory = SceneDirectory(Path(path))
        try:
            return cls(directory, config or Config())
        except BaseException:
            directory.close()
            raise

    @property
    def durable_sequence(self) -> int:
        """Sequence of the newest durable group; 0 when nothing was ever committed."""
        return self._durable_sequence

    @property
    def roll_up_due(self) -> bool:
        """Whether the log has grown so far that `roll_up` should be called, in a thread of its own."""
        log_bytes = self._sealed_bytes + self._writer.size_bytes
        return log_bytes > max(self.config.roll_up_above_bytes, self._snapshot_bytes)

    def load(self) -> SceneState:
        """Read everything that was appended so far.

        Raises:
            StoreError: the snapshot is damaged.
        """
        with self._files_lock:
            with self._writer_lock:
                self._writer.flush()
                self._oldest_capture_ns = None
            state = read_state(self._directory.snapshot, map(self._directory.segment, self._directory.segments()))
            with self._writer_lock:
                kept: list[StoredKeyframe | StoredPlace] = [*state.keyframes.values(), *state.places.values()]
                self._note_captures(keyframe.capture_ns for keyframe in kept)
            return state

    # -- writing -------------------------------------------------------------------------------------------------------

    def append(self, *records: Record) -> int:
        """Add records that shall become durable together or not at all; their group's sequence number.

        Raises:
            LogError: the disk failed; what was not committed may be lost, and the store must be opened again.
        """
        payloads = [encode(part) for record in records for part in self._fit(record)]
        with self._writer_lock:
            kept = (record for record in records if isinstance(record, StoredKeyframe | StoredPlace))
            self._note_captures(record.capture_ns for record in kept)
            return self._writer.append(payloads)

    def commit(self) -> int:
        """Make everything appended before this call durable; the sequence number of the newest durable group.

        Raises:
            LogError: the disk failed; what was not committed may be lost, and the store must be opened again.
        """
        with self._commit_lock:
            with self._writer_lock:
                self._writer.flush()
                sequence = self._writer.last_sequence
            if sequence > self._durable_sequence:
                self._writer.sync()
                self._durable_sequence = sequence
            return sequence

    def roll_up(self) -> None:
        """Fold the log into a new snapshot. Slow (seconds for a large scene): call it in a thread of its own.

        Appending and committing go on meanwhile; loading, erasing and closing wait.

        Raises:
            StoreError: the snapshot is damaged.
            LogError: the disk failed; the state on disk is still whole.
        """
        with self._files_lock:
            sealed, sequence = self._seal()
            target = self.path / f"snapshot-{self._active:08d}.zarr"
            unfinished = target.with_name(target.name + ".tmp")
            folding = _fold_elsewhere if self.config.roll_up_process else fold
            folding(unfinished, self._directory.snapshot, [self._directory.segment(number) for number in sealed])
            disk.rename(unfinished, target)
            self._directory.switch(Manifest(FORMAT, target.name, self._active, sequence))
            self._snapshot_bytes, self._sealed_bytes = _tree_bytes(target), 0

    def erase_stream(self, stream: StreamId) -> None:
        """Forget a stream's keyframes: when this returns, no file of the scene holds them any more."""
        self._erase(EraseKeyframes(stream=stream))

    def expire(self, now_ns: int) -> bool:
        """Erase the keyframes that outlived `keyframe_ttl_s`, if there are any; call it now and then."""
        if self.config.keyframe_ttl_s is None or self._oldest_capture_ns is None:
            return False
        before_ns = now_ns - int(self.config.keyframe_ttl_s * 1e9)
        if self._oldest_capture_ns >= before_ns:
            return False
        with self._writer_lock:
            self._oldest_capture_ns = before_ns
        self._erase(EraseKeyframes(before_ns=before_ns))
        return True

    def close(self) -> None:
        """Commit and let go of the directory, after a roll-up that is under way."""
        with self._files_lock:
            try:
                self.commit()
            finally:
                self._writer.close()
                self._directory.close()

    # -- inside --------------------------------------------------------------------------------------------------------

    def _erase(self, erase: EraseKeyframes) -> None:
        self.append(erase)
        self.commit()
        self.roll_up()

    def _note_captures(self, captures_ns: Iterable[int]) -> None:
        known = [] if self._oldest_capture_ns is None else [self._oldest_capture_ns]
        self._oldest_capture_ns = min([*known, *captures_ns], default=None)

    def _fit(self, record: Record) -> Iterator[Record]:
        """Drop what must not be kept and cut what is too large for one record."""
        if isinstance(record, StoredKeyframe) and not self.config.retain_pixels and record.jpeg is not None:
            yield msgspec.structs.replace(record, jpeg=None)
        elif isinstance(record, StoredBlocks) and len(record.keys) > ROWS_PER_RECORD:
            for start in range(0, len(record.keys), ROWS_PER_RECORD):
                rows = slice(start, start + ROWS_PER_RECORD)
                yield StoredBlocks(
                    keys=record.keys[rows],
                    tsdf_m=record.tsdf_m[rows],
                    weight=record.weight[rows],
                    rgb=record.rgb[rows],
                )
        else:
            yield record

    def _seal(self) -> tuple[list[int], int]:
        """Start a new segment; the numbers of the older ones, which never change again, and their newest sequence."""
        with self._commit_lock, self._writer_lock:
            self._writer.flush()
            self._writer.sync()
            self._durable_sequence = sequence = self._writer.last_sequence
            sealed = self._directory.segments()
            writer = LogWriter.create(self._directory.segment(self._active + 1), sequence + 1)
            self._active += 1
            self._sealed_bytes += self._writer.size_bytes
            self._writer.close()
            self._writer = writer
            return sealed, sequence


# -- the files ---------------------------------------------------------------------------------------------------------


def fold(target: Path, snapshot: Path | None, segments: Sequence[Path]) -> None:
    """Write what a snapshot and the log segments after it add up to as a new snapshot, durable when this returns.

    Raises:
        StoreError: something that is read is damaged.
    """
    write_snapshot(target, read_state(snapshot, segments))
    disk.sync_tree(target)


def _fold_elsewhere(target: Path, snapshot: Path | None, segments: Sequence[Path]) -> None:
    """`fold` in another process (`mapping.store.roll_up`): blocks this thread, but not this interpreter."""
    paths = [str(Path(mapping.__file__).parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    command = [sys.executable, "-m", "mapping.store.roll_up", str(target), str(snapshot or ""), *map(str, segments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, env=environment) as process:
        assert process.stderr is not None
        complaint = process.stderr.read().decode(errors="replace").strip() or "it was killed"
        if process.wait():
            raise StoreError(f"the roll-up failed: {complaint}")


def read_state(snapshot: Path | None, segments: Iterable[Path]) -> SceneState:
    """What a snapshot (None = nothing) and the log segments after it add up to.

    Raises:
        StoreError: something of it is damaged.
    """
    state = SceneState() if snapshot is None else read_snapshot(snapshot)
    for path in segments:
        for _, payloads in log.groups(path):
            try:
                for record in [decode(payload) for payload in payloads]:
                    state.apply(record)
            except RecordError as error:
                raise StoreError(f"{path} holds a record that cannot be read: {error}") from error
    return state


def write_snapshot(path: Path, state: SceneState) -> None:
    """Write a scene as a new zarr group: blocks as columns, keyframes and tiles as rows of encoded records.

    Every array is written once, shard by whole shard, and its metadata is consolidated at the end.
    """
    group = zarr.create_group(store=path, overwrite=True)
    group.attrs["format"] = FORMAT
    group.attrs["meta"] = None if state.meta is None else msgspec.to_builtins(state.meta)
    blocks = state.blocks.all()
    for name in _BLOCK_COLUMNS:
        _write_array(group, f"blocks/{name}", getattr(blocks, name), ROWS_PER_CHUNK, ROWS_PER_SHARD)
    _write_rows(group, "keyframes", [encode(keyframe) for keyframe in state.keyframes.values()])
    _write_rows(group, "places", [encode(place) for place in state.places.values()])
    _write_rows(group, "tiles", [encode(tile) for tile in state.tiles.values()])
    with warnings.catch_warnings():  # zarr warns that the v3 specification does not mention consolidated metadata yet
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(path)


def read_snapshot(path: Path) -> SceneState:
    """Read what `write_snapshot` wrote.

    Raises:
        StoreError: something of it is missing, damaged or of a newer format.
    """
    state = SceneState()
    try:
        group = zarr.open_group(path, mode="r")
        if group.attrs["format"] != FORMAT:
            raise StoreError(f"{path} has snapshot format {group.attrs['format']}, this version reads {FORMAT}")
        if group.attrs["meta"] is not None:
            state.meta = msgspec.convert(group.attrs["meta"], SceneMeta)
        state.blocks.put(StoredBlocks(**{name: group[f"blocks/{name}"][:] for name in _BLOCK_COLUMNS}))
        for name in ("keyframes", "places", "tiles"):
            if name in group:  # snapshots of before there were places lack them
                for record in _read_rows(group, name):
                    state.apply(record)
    except StoreError:
        raise
    except Exception as error:  # zarr raises whatever its codecs and stores raise
        raise StoreError(f"{path} is damaged ({error}); restore the scene's folder from a copy") from error
    return state


def _write_rows(group: zarr.Group, name: str, rows: list[bytes]) -> None:
    ends = np.cumsum([0, *map(len, rows)]).astype(np.uint64)
    _write_array(group, f"{name}/ends", ends, 1 << 14, 1 << 20)
    _write_array(group, f"{name}/records", np.frombuffer(b"".join(rows), np.uint8), BYTES_PER_CHUNK, BYTES_PER_SHARD)


def _read_rows(group: zarr.Group, name: str) -> Iterator[Record]:
    ends = group[f"{name}/ends"][:].tolist()
    data = memoryview(group[f"{name}/records"][:].tobytes())
    for start, end in itertools.pairwise(ends):
        yield decode(data[start:end])


def _write_array(group: zarr.Group, name: str, values: NDArray[Any], rows_per_chunk: int, rows_per_shard: int) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        dtype=values.dtype,
        chunks=(rows_per_chunk, *values.shape[1:]),
        shards=(rows_per_shard, *values.shape[1:]),
        compressors=ZstdCodec(level=1, checksum=True),
    )
    if len(values):
        array[:] = values


def _tree_bytes(path: Path | None) -> int:
    return 0 if path is None else sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
