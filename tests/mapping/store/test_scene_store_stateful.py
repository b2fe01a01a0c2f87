"""After any history a store equals its model."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mapping.changes import KeyframeId
from mapping.store.records import (
    DropBlocks,
    EraseKeyframes,
    MovedKeyframes,
    Record,
    SceneMeta,
)
from mapping.store.scene_store import Store
from mapping.store.state import SceneState
from tests.mapping.store.scenes import blocks, in_process, keyframe, plain, tile

KEYS = st.lists(st.integers(0, 5), max_size=4).map(lambda keys: blocks(*keys, value=float(len(keys))))

RECORDS = st.one_of(
    st.builds(SceneMeta, lineage=st.just("abc"), epoch=st.integers(0, 9)),
    st.builds(tile, st.integers(0, 3), st.integers(0, 99), removed=st.booleans()),
    KEYS,
    st.just(DropBlocks()),
    st.builds(lambda keys: DropBlocks(keys=blocks(*keys).keys), st.lists(st.integers(0, 5), max_size=3)),
    st.builds(keyframe, st.sampled_from("ab"), st.integers(0, 3), st.integers(0, 99)),
    st.builds(
        lambda seq, x: MovedKeyframes(ids=[KeyframeId(f"a/{seq}")], world_from_camera=np.full((1, 4, 4), x)),
        st.integers(0, 3),
        st.floats(-9, 9),
    ),
    st.builds(EraseKeyframes, stream=st.sampled_from([None, "a", "b"]), before_ns=st.integers(0, 99)),
)


class AnyHistory(RuleBasedStateMachine):
    """A store equals its model after any sequence of appends, commits, roll-ups, reopenings and kills."""

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.copies = itertools.count()
        self.path = Path(self.folder.name) / "scene"
        self.store = Store.open(self.path, in_process())
        self.model = SceneState()

    @rule(records=st.lists(RECORDS, min_size=1, max_size=4))
    def append(self, records: list[Record]) -> None:
        self.store.append(*records)
        for record in records:
            self.model.apply(record)

    @rule()
    def commit(self) -> None:
        self.store.commit()

    @rule()
    def roll_up(self) -> None:
        self.store.roll_up()

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.path, in_process())

    @rule()
    def killed_after_a_commit(self) -> None:
        """What a killed process leaves is the directory as it lies there."""
        self.store.commit()
        self.path = Path(shutil.copytree(self.path, Path(self.folder.name) / f"copy-{next(self.copies)}"))
        self.store = Store.open(self.path, in_process())

    @invariant()
    def equals_its_model(self) -> None:
        assert plain(self.store.load()) == plain(self.model)

    def teardown(self) -> None:
        self.folder.cleanup()


AnyHistory.TestCase.settings = settings(max_examples=12, stateful_step_count=10, deadline=None)

TestAnyHistory = AnyHistory.TestCase
