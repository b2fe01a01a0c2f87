"""A keyframe that kills workers is found, whoever stands beside it in the window, and the innocent go free."""

from __future__ import annotations

from mapping.changes import KeyframeId
from server.workers import quarantine
from server.workers.quarantine import Quarantine


def window(*seqs: int) -> list[KeyframeId]:
    return [KeyframeId(f"a/{seq}") for seq in seqs]


def test_two_deaths_over_the_same_newest_keyframe() -> None:
    suspects = Quarantine()
    suspects.died(window(1, 2, 3))
    assert window(3)[0] not in suspects
    suspects.died(window(1, 2, 3))
    assert window(3)[0] in suspects
    assert window(1)[0] not in suspects
    assert len(suspects) == 1


def test_the_culprit_is_found_although_newer_windows_replace_its_own() -> None:
    suspects = Quarantine()
    suspects.died(window(1, 2, 3))  # 3 kills
    suspects.died(window(2, 3, 4))  # as a neighbour, too
    assert window(3)[0] in suspects
    assert window(4)[0] not in suspects
    suspects.succeeded(window(2, 4, 5))
    suspects.died(window(4, 5, 6))
    assert window(4)[0] not in suspects, "its strike was taken back when its window succeeded"


def test_memory_is_bounded() -> None:
    suspects = Quarantine(strikes=1)
    for seq in range(quarantine.MAX_REMEMBERED + 10):
        suspects.died(window(seq))
    assert len(suspects) == quarantine.MAX_REMEMBERED
    assert window(0)[0] not in suspects
