"""The swap machine: what it promises, for any order of answers, departures and deadlines."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from server.api.contract import Conflict
from server.assets import swap
from server.assets.swap import Config, Policy, Rule, Slot, Step
from server.assets.values import Ref

S = 1_000_000_000
CONFIG = Config(lead_s=0.1, rollback_depth=2)
OLD, NEW, OTHER = Ref("old", 1), Ref("new", 1), Ref("other", 1)
SHOWN = Slot("chair", revision=3, current=OLD)


def policy(rule: Rule = "all", share: float = 1.0, failed: float = 0.2) -> Policy:
    return Policy(rule, share, deadline_ns=2 * S, watch_ns=5 * S, max_failed_share=failed)


def begun(clients: str, how: Policy, slot: Slot = SHOWN) -> Step:
    return swap.begin(slot, NEW, slot.revision, how, frozenset(clients), 100 * S, CONFIG)


def answered(slot: Slot, client: str, is_ready: bool = True, now_ns: int = 101 * S) -> Step:
    return swap.answer(slot, client, slot.revision, is_ready, now_ns, CONFIG)


def names(step: Step) -> list[str]:
    return [outcome for outcome, _ in step.outcomes]


def test_all_waits_for_all_and_commits_a_little_ahead() -> None:
    slot = begun("ab", policy()).slot
    first = answered(slot, "a")
    assert (names(first), first.slot.current) == ([], OLD)
    second = answered(first.slot, "b")
    assert names(second) == ["commit"]
    assert (second.slot.current, second.slot.kept, second.slot.revision) == (NEW, (OLD,), 4)
    assert second.slot.swap is not None
    assert second.slot.swap.commit_at_ns == 101 * S + S // 10
    assert swap.due_ns(second.slot) == 106 * S + S // 10
    assert names(swap.tick(second.slot, 107 * S, CONFIG)) == ["settled"]


@pytest.mark.parametrize(("rule", "share", "enough"), [("quorum", 0.5, 2), ("quorum", 0.9, 4), ("any", 1.0, 1)])
def test_others_wait_for_less(rule: Rule, share: float, enough: int) -> None:
    slot = begun("abcd", policy(rule, share)).slot
    for count, client in enumerate("abcd", start=1):
        step = answered(slot, client)
        assert names(step) == (["commit"] if count == enough else [])
        if count == enough:
            return
        slot = step.slot


def test_now_and_nobody_to_wait_for_commit_at_once() -> None:
    assert names(begun("abc", policy("now"))) == ["prepare", "commit"]
    assert names(begun("", policy())) == ["prepare", "commit"]
    assert names(swap.leave(begun("a", policy()).slot, "a", 101 * S, CONFIG)) == ["commit"]


def test_the_deadline_commits_whoever_is_ready() -> None:
    slot = begun("abcd", policy()).slot
    assert names(swap.tick(slot, 102 * S - 1, CONFIG)) == []
    assert names(swap.tick(slot, 102 * S, CONFIG)) == ["commit"]


def test_failures_before_the_commit_call_it_off_and_after_it_bring_the_old_one_back() -> None:
    slot = begun("abcd", policy()).slot
    called_off = answered(slot, "a", is_ready=False)
    assert (names(called_off), called_off.slot.current, called_off.slot.revision) == (["rolled_back"], OLD, 5)
    slot = begun("abcd", policy("any")).slot
    committed = answered(slot, "a").slot
    back = answered(committed, "b", is_ready=False)
    assert (names(back), back.slot.current, back.slot.kept) == (["rolled_back"], OLD, ())
    assert back.slot.reason == "too many clients failed"
    tolerant = begun("abcd", policy("any", failed=0.25)).slot
    assert names(answered(answered(tolerant, "a").slot, "b", is_ready=False)) == []


def test_what_has_no_past_is_not_taken_away() -> None:
    slot = begun("ab", policy("any"), Slot("chair")).slot
    committed = answered(slot, "a").slot
    assert names(answered(committed, "b", is_ready=False)) == []
    with pytest.raises(Conflict, match="nothing to go back to"):
        swap.roll_back(committed, None, "", 0)


def test_revisions_guard_and_repeated_requests_change_nothing() -> None:
    slot = begun("a", policy()).slot
    again = swap.begin(slot, NEW, 3, policy(), frozenset("a"), 101 * S, CONFIG)
    assert (again.slot, again.outcomes) == (slot, ())
    with pytest.raises(Conflict, match="revision 4, not 3") as refusal:
        swap.begin(slot, OTHER, 3, policy(), frozenset("a"), 101 * S, CONFIG)
    assert refusal.value.more == {"revision": 4}
    with pytest.raises(Conflict):
        swap.roll_back(slot, 3, "", 0)
    stale = swap.answer(slot, "a", 3, True, 101 * S, CONFIG)
    assert stale.slot == slot


def test_a_restart_waits_for_clients_to_come_back() -> None:
    slot = swap.restored(begun("ab", policy()).slot, 101 * S, CONFIG)
    assert swap.due_ns(slot) == 103 * S
    slot = swap.join(slot, "a2")
    waiting = answered(slot, "a2", now_ns=102 * S)
    assert names(waiting) == []
    assert names(swap.tick(waiting.slot, 103 * S, CONFIG)) == ["commit"]
    assert names(swap.tick(swap.restored(begun("ab", policy()).slot, 101 * S, CONFIG), 103 * S, CONFIG)) == ["commit"]


class Swaps(RuleBasedStateMachine):
    """Anything may happen in any order; some things must not."""

    @initialize()
    def start(self) -> None:
        self.slot, self.now_ns, self.revisions = SHOWN, 100 * S, [3]
        self.told: list[str] = []

    def take(self, step: Step) -> None:
        before = self.slot
        self.slot = step.slot
        for outcome, slot in step.outcomes:
            if outcome == "commit":
                assert slot.swap is not None
                assert slot.swap.commit_at_ns > self.now_ns
            if outcome == "rolled_back":
                assert slot.swap is None
            self.told.append(outcome)
        if before.current != self.slot.current:
            assert {"commit", "rolled_back"} & {outcome for outcome, _ in step.outcomes}
        assert self.slot.revision >= before.revision

    @rule(to=st.sampled_from([OLD, NEW, OTHER]), kind=st.sampled_from(["all", "quorum", "any", "now"]))
    def begin(self, to: Ref, kind: Rule) -> None:
        how = policy(kind, 0.6)
        self.take(swap.begin(self.slot, to, self.slot.revision, how, frozenset("abcde"), self.now_ns, CONFIG))

    @rule(client=st.sampled_from("abcdefg"), is_ready=st.booleans(), late=st.integers(0, 1))
    def answer(self, client: str, is_ready: bool, late: int) -> None:
        self.take(swap.answer(self.slot, client, self.slot.revision - late, is_ready, self.now_ns, CONFIG))

    @rule(client=st.sampled_from("abcdefg"))
    def join(self, client: str) -> None:
        self.slot = swap.join(self.slot, client)

    @rule(client=st.sampled_from("abcdefg"))
    def leave(self, client: str) -> None:
        self.take(swap.leave(self.slot, client, self.now_ns, CONFIG))

    @precondition(lambda self: self.slot.kept or (self.slot.swap and not self.slot.swap.is_committed))
    @rule()
    def roll_back(self) -> None:
        revision = self.slot.revision
        self.take(swap.roll_back(self.slot, revision, "asked for", self.now_ns))
        assert self.slot.revision == revision + 1

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        self.now_ns += int(seconds * S)
        self.take(swap.tick(self.slot, self.now_ns, CONFIG))

    @rule()
    def restart(self) -> None:
        self.slot = swap.restored(self.slot, self.now_ns, CONFIG)

    @invariant()
    def something_is_always_shown_and_every_swap_ends(self) -> None:
        assert self.slot.current is not None
        assert len(self.slot.kept) <= CONFIG.rollback_depth
        slot, now_ns = self.slot, self.now_ns
        for _ in range(4):
            if (due_ns := swap.due_ns(slot)) is None:
                break
            now_ns = max(now_ns, due_ns)
            slot = swap.tick(slot, now_ns, CONFIG).slot
        assert slot.swap is None

    @invariant()
    def failures_beyond_the_bound_are_never_shown(self) -> None:
        going = self.slot.swap
        if going is not None and self.slot.kept:
            assert not going.has_failed

    @invariant()
    def every_commit_was_prepared_and_nothing_is_settled_twice(self) -> None:
        open_swap = False
        for outcome in self.told:
            if outcome == "prepare":
                open_swap = True
            else:
                assert open_swap or outcome == "rolled_back"
            if outcome in ("settled", "rolled_back"):
                open_swap = False


TestSwaps = Swaps.TestCase


def test_slots_are_values() -> None:
    slot = begun("ab", policy()).slot
    before = replace(slot)
    answered(slot, "a")
    assert slot == before
