"""The child: one device, one engine, one job at a time. Run as `python -m server.workers.worker` by `process.py`.

Pixels are read where the parent put them (the engine must not keep a reference to them after `predict`) and results
are written where the parent reads them. An engine that raises is an answer, not a crash. When the parent is gone, so is
this.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import resource
import signal
import socket
import threading
import time
import traceback
from pathlib import Path

import cv2

from mapping import engines
from mapping.engines import GeometryEngine, View, ViewPrediction, Window, WindowPrediction
from server.parent import die_with
from server.workers.arena import ResultWriter, SharedMemory
from server.workers.messages import (
    Answers,
    Beat,
    Failed,
    FromWorker,
    Logged,
    Predict,
    Predicted,
    PredictionRef,
    Ready,
    Start,
    StartFailed,
    ViewRef,
    pack,
    receive_to_worker,
)

MAX_ERROR_CHARS = 2000
MAX_LINE_CHARS = 8000

_log = logging.getLogger(__name__)


class Worker:
    """The loop of one worker process."""

    def __init__(self, connection: socket.socket, memory: SharedMemory, result_bytes: int) -> None:
        self._connection = connection
        self._memory = memory
        self._result_bytes = result_bytes
        self._send_lock = threading.Lock()
        self._engine: GeometryEngine | None = None
        self._fetching = ""

    def run(self) -> None:
        """Become what the first message says, then answer jobs until told to stop or left alone."""
        start = receive_to_worker(self._connection)
        if not isinstance(start, Start):
            return
        os.nice(start.nice)
        cv2.setNumThreads(start.threads)
        threading.Thread(target=self._beat, args=(start.heartbeat_s,), name="heartbeat", daemon=True).start()
        began = time.monotonic()
        try:
            engines.fetch(start.engine, start.engine_config, self._tell_fetching)
            self._fetching = ""
            engine = engines.create(start.engine, start.engine_config)
            engine.warm_up()
        except Exception as error:
            _log.exception("the engine %s did not start", start.engine)
            self._send(StartFailed(type(error).__name__, str(error)[:MAX_ERROR_CHARS]))
            return
        self._engine = engine
        provenance = {"engine": start.engine, **getattr(engine, "provenance", {})}
        self._send(Ready(time.monotonic() - began, provenance, getattr(engine, "together", 1)))
        while isinstance(request := receive_to_worker(self._connection), Predict):
            self._send(self._answer(engine, request))

    def _answer(self, engine: GeometryEngine, request: Predict) -> Answers:
        windows = [Window(tuple(map(self._view, views))) for views in request.windows]
        predictions = _predicted(engine, windows)
        writer = ResultWriter(self._memory, self._result_bytes)
        return Answers(request.job, [_told(prediction, writer) for prediction in predictions])

    def _view(self, ref: ViewRef) -> View:
        prior, landmarks = ref.prior_window_from_camera, ref.landmarks_window
        view = View(
            keyframe=ref.keyframe,
            rgb=self._memory.view(ref.rgb),
            intrinsics=ref.intrinsics,
            prior_window_from_camera=None if prior is None else self._memory.view(prior),
            landmarks_window=None if landmarks is None else self._memory.view(landmarks),
        )
        for array in (view.rgb, view.prior_window_from_camera, view.landmarks_window):
            if array is not None:
                array.flags.writeable = False
        return view

    def _beat(self, interval_s: float) -> None:
        while True:
            self._send(Beat(_rss_bytes(), getattr(self._engine, "device_bytes", 0), self._fetching))
            time.sleep(interval_s)

    def log(self, level: int, logger: str, message: str) -> None:
        """Let the main process write a line into its log."""
        self._send(Logged(level, logger, message[:MAX_LINE_CHARS]))

    def _tell_fetching(self, what: str) -> None:
        self._fetching = what[:MAX_ERROR_CHARS]

    def _send(self, message: FromWorker) -> None:
        try:
            with self._send_lock:
                self._connection.sendall(pack(message))
        except OSError:  # the parent is gone: nobody needs this process, whatever it is doing
            os._exit(1)


class _ToMain(logging.Handler):
    """Sends log records to the main process, which knows where they belong."""

    def __init__(self, worker: Worker) -> None:
        super().__init__()
        self._worker = worker

    def emit(self, record: logging.LogRecord) -> None:
        self._worker.log(record.levelno, record.name, self.format(record))


def _predicted(engine: GeometryEngine, windows: list[Window]) -> list[WindowPrediction | Exception]:
    """The answer to each window, or what the engine raised over it."""
    if len(windows) > 1 and (together := getattr(engine, "predict_together", None)) is not None:
        try:
            answers: list[WindowPrediction | Exception] = together(windows)
            return answers
        except Exception as error:
            return [error] * len(windows)
    predictions: list[WindowPrediction | Exception] = []
    for window in windows:
        try:
            predictions.append(engine.predict(window))
        except Exception as error:
            predictions.append(error)
    return predictions


def _told(prediction: WindowPrediction | Exception, writer: ResultWriter) -> Predicted | Failed:
    try:
        if isinstance(prediction, Exception):
            raise prediction
        return Predicted([_written(view, writer) for view in prediction.views])
    except ValueError as error:  # a refusal, by the engines' contract
        return Failed(type(error).__name__, str(error)[:MAX_ERROR_CHARS])
    except Exception as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        where = f"({Path(at.filename).name}:{at.lineno})"
        return Failed(type(error).__name__, f"{str(error)[:MAX_ERROR_CHARS]} {where}")


def _written(view: ViewPrediction, writer: ResultWriter) -> PredictionRef:
    return PredictionRef(
        keyframe=view.keyframe,
        window_from_camera=writer.put(view.window_from_camera),
        intrinsics=view.intrinsics,
        depth=None if view.depth is None else writer.put(view.depth),
        confidence=None if view.confidence is None else writer.put(view.confidence),
        descriptor=None if view.descriptor is None else writer.put(view.descriptor),
        own_from_camera=None if view.own_from_camera is None else writer.put(view.own_from_camera),
    )


def _rss_bytes() -> int:
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    parser = argparse.ArgumentParser(description="One device's worker; started by the server, not by hand.")
    for name in ("control", "memory", "memory-bytes", "result-bytes", "parent"):
        parser.add_argument(f"--{name}", type=int, required=True)
    args = parser.parse_args()
    die_with(args.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the server decides who ends when
    faulthandler.enable()
    memory = SharedMemory(args.memory, args.memory_bytes)
    with socket.socket(fileno=args.control) as connection:
        worker = Worker(connection, memory, args.result_bytes)
        logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[_ToMain(worker)])
        for own in ("mapping", "server"):
            logging.getLogger(own).setLevel(logging.INFO)
        worker.run()


if __name__ == "__main__":
    main()
