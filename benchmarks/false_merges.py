"""Do only phones that film the same place get one map? `python -m benchmarks.false_merges CLIP... synthetic`.

Every clip is cut into short pieces, each tracked and given depth once, as a phone of its own. Then pairs of pieces are
brought into fresh maps: pieces of different places (`elsewhere`), of one place with nothing in common (`apart`: other
rooms with the same doors and walls, the other side of the kitchen), and pieces that do look at the same things
(`together`). A merge across places is false; one within a place is false when it puts the second phone more than 0.3 m
or 10 degrees wrong. A pair of `together` that did not merge is missed. Pairs are picked evenly and seeded.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from benchmarks.clips import Clip
from benchmarks.evaluation import synthetic_clips
from benchmarks.evaluation.fast import play_fast
from benchmarks.evaluation.options import Options
from benchmarks.evaluation.phone import Phone
from benchmarks.evaluation.remap import map_again
from benchmarks.evaluation.session import Cost, Played, Session
from benchmarks.evaluation.shared_view import SHARED, SharedViews
from benchmarks.evaluation.together import misplaced
from benchmarks.trajectory import WRONG_DEG, WRONG_M
from mapping.metric.markers import Config as MarkerConfig
from mapping.tracking import tracker
from streams.frame import StreamId

Kind = Literal["elsewhere", "apart", "together"]
PIECE_S, STEP_S = 4.0, 2.0
SLOW_FPS, SLOW_PIECE = 10.0, 40
"""A clip with fewer frames a second is cut by frames: its seconds are nominal."""
NOTHING = 0.1
ENOUGH_FRAMES = 10
MIN_KEYFRAMES = 3


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one pair."""

    kind: Kind
    first: str
    second: str
    merged: bool
    false: bool
    off_m: float | None
    off_deg: float | None


def cut(clip: Clip) -> list[Phone]:
    """Overlapping pieces of one clip."""
    is_slow = clip.fps < SLOW_FPS
    length = SLOW_PIECE if is_slow else round(PIECE_S * clip.fps)
    step = length // 2 if is_slow else round(STEP_S * clip.fps)
    begins = range(0, max(1, len(clip.images) - length + 1), step)
    return [
        Phone(StreamId(f"{clip.name}-{begin}"), clip, tuple(range(begin, min(begin + length, len(clip.images)))))
        for begin in begins
    ]


def kind_of(a: Phone, b: Phone, views: SharedViews) -> Kind | None:
    """What two pieces have in common; None where it is something, but not enough to demand a merge."""
    if a.clip.world != b.clip.world:
        return "elsewhere"
    if not views.knows(a) or not views.knows(b):
        return None
    shares = views.between(a, b)
    if shares.max() <= NOTHING:
        return "apart"
    return "together" if np.count_nonzero(shares.max(axis=1) >= SHARED) >= ENOUGH_FRAMES else None


def pick(
    pieces: Sequence[Played], views: SharedViews, wanted: dict[Kind, int], seed: int
) -> list[tuple[Kind, int, int]]:
    """Pairs (kind, first, second) by index, as many of each kind as wanted and there."""
    by_kind: dict[Kind, list[tuple[Kind, int, int]]] = {kind: [] for kind in wanted}
    for i, j in combinations(range(len(pieces)), 2):
        kind = kind_of(pieces[i].phone, pieces[j].phone, views)
        if kind is not None:
            by_kind[kind].append((kind, i, j))
    rng = np.random.default_rng(seed)
    return [
        pairs[k]
        for kind, pairs in by_kind.items()
        for k in sorted(rng.permutation(len(pairs))[: wanted[kind]].tolist())
    ]


def verdict(kind: Kind, a: Played, b: Played, options: Options) -> Verdict:
    """Bring two tracked pieces into a fresh map, one after the other."""
    session = Session((a, b), map_again([a, b], options.scene.map.map), Cost(0.0, 0.0, 0.0), live=False)
    merged = all(_lies_in_world(session, one) for one in (a, b))
    off = misplaced(session, a, b) if merged and kind != "elsewhere" else None
    wrong = off is not None and (off[0] > WRONG_M or off[1] > WRONG_DEG)
    return Verdict(
        kind, str(a.phone.name), str(b.phone.name), merged, merged and (kind == "elsewhere" or wrong),
        None if off is None else round(off[0], 3), None if off is None else round(off[1], 2),
    )  # fmt: skip


def _lies_in_world(session: Session, played: Played) -> bool:
    components = {mapped.tracked.component for mapped in played.mapped}
    return any(session.world_from(played, component) is not None for component in components)


def summary(verdicts: Sequence[Verdict], unusable: int) -> dict[str, Any]:
    """Counts by kind."""
    figures: dict[str, Any] = {"pairs": len(verdicts), "false_merges": sum(v.false for v in verdicts)}
    for kind in ("elsewhere", "apart", "together"):
        here = [v for v in verdicts if v.kind == kind]
        figures[kind] = {"pairs": len(here), "merged": sum(v.merged for v in here), "false": sum(v.false for v in here)}
    together = figures["together"]
    figures["missed_merges"] = together["pairs"] - together["merged"]
    figures["pieces_untracked"] = unusable
    figures["false"] = [asdict(v) for v in verdicts if v.false]
    return figures


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.false_merges", description="Who gets one map?")
    parser.add_argument("clips", nargs="+", type=Path, metavar="CLIP", help="`synthetic`: the rendered flat, too")
    parser.add_argument("--elsewhere", type=int, default=140, help="pairs of different places")
    parser.add_argument("--apart", type=int, default=80, help="pairs of one place without a common view")
    parser.add_argument("--together", type=int, default=60, help="pairs that belong together")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true", help="one JSON object a pair, one a line, and the summary last")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    tracker.warm_up()
    clips = [Clip.open(folder) for folder in synthetic_clips.folders(options.clips)]
    how = Options().looking_for(MarkerConfig(search=False))
    pieces = [play_fast([phone], how).played[0] for clip in clips for phone in cut(clip)]
    usable = [piece for piece in pieces if len(piece.mapped) >= MIN_KEYFRAMES]
    wanted: dict[Kind, int] = {
        "elsewhere": options.elsewhere, "apart": options.apart, "together": options.together,
    }  # fmt: skip
    verdicts = []
    for kind, i, j in pick(usable, SharedViews(clips), wanted, options.seed):
        verdicts.append(verdict(kind, usable[i], usable[j], how))
        if options.json:
            print(json.dumps(asdict(verdicts[-1])), flush=True)
    print(json.dumps(summary(verdicts, len(pieces) - len(usable)), indent=None if options.json else 1), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
