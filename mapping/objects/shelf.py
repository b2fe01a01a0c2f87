"""Which of some named assets a text means: "jug" is the ceramic_jug, "tablet" is no table, "table lamp" is no table.

By the head noun rule: the heads must be the same word (or true synonyms), never merely look alike. What stands before
the head then decides between them. A describing word ("red", "wooden") may be missing or differ; a word that makes
another kind of thing ("office" chair, "wine" glass) may be missing on one side, but must not contradict the other's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from mapping.objects.english import (
    COMPOUNDS,
    DESCRIBING,
    DESCRIBING_ENDINGS,
    EYEWEAR,
    NOT_DESCRIBING,
    PREPOSITIONS,
    SYNONYMS,
    THINGS_TOO,
)
from mapping.objects.prims.grammar import COLOURS, MATERIALS
from mapping.objects.words import readings, singular, words

THRESHOLD = 0.5
_MIN_DOUBLED, _MIN_SWAP, _MIN_EDIT = 4, 5, 7

_CANONICAL = {word: group.split()[0] for group in SYNONYMS for word in group.split()}
_JOINED = frozenset(pair.replace("+", "") for pair in COMPOUNDS)
_DESCRIBING = DESCRIBING | frozenset(COLOURS) | frozenset(MATERIALS)


@dataclass(frozen=True, slots=True)
class Match:
    """One of the names, and why."""

    name: str
    score: float
    """0..1: 1 = the same words."""
    reason: str


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    head: str
    written: str
    """The head as it stands there, which may be a synonym."""
    kinds: frozenset[str]
    """Words before the head that make it another kind of thing."""
    looks: frozenset[str]
    """Words that only describe it."""
    joined: frozenset[str]
    """As one word, with and without what only describes: an armchair is an arm chair."""
    hints: frozenset[str]
    """Words behind a preposition."""


class Library:
    """Names of assets, ready to be asked; file names, with any separators, numbers and endings."""

    def __init__(self, names: Iterable[str]) -> None:
        self._by_head: dict[str, list[_Entry]] = defaultdict(list)
        self._by_words: dict[frozenset[str], list[_Entry]] = defaultdict(list)
        self._by_joined: dict[str, list[_Entry]] = defaultdict(list)
        self._heads: dict[str, set[tuple[str, str]]] = defaultdict(set)
        """By first letter: as it is written, and its canonical word."""
        for name in names:
            for entry in _entries(_stem(name), name, is_name=True):
                self._by_head[entry.head].append(entry)
                self._by_words[_all_words(entry)].append(entry)
                for joined in entry.joined:
                    self._by_joined[joined].append(entry)
                self._heads[entry.written[0]].add((entry.written, entry.head))

    def match(self, text: str) -> Match | None:
        """The asset that a text means, or none of them."""
        found = [match for wanted in _entries(text, text, is_name=False) for match in self._alike(wanted)]
        found = [match for match in found if match.score >= THRESHOLD]
        return min(found, key=lambda match: (-match.score, len(match.name), match.name), default=None)

    def _alike(self, wanted: _Entry) -> list[Match]:
        found = [_scored(wanted, entry) for entry in self._by_head.get(wanted.head, ())]
        if wanted.kinds:
            turned = self._by_words.get(_all_words(wanted), ())
            found += [Match(entry.name, 0.85, "the same words in another order") for entry in turned]
        found += [
            Match(entry.name, 0.95, "the same word, written apart")
            for joined in wanted.joined
            for entry in self._by_joined.get(joined, ())
        ]
        if not self._by_head.get(wanted.head):
            for written, head in sorted(self._heads.get(wanted.written[0], ())):
                if not _one_slip(written, wanted.written):
                    continue
                alike = [_scored(wanted, entry) for entry in self._by_head[head]]
                found += [
                    Match(m.name, 0.9 * m.score, f"{m.reason}; {wanted.written!r} read as {written!r}") for m in alike
                ]
        return found


def _scored(wanted: _Entry, entry: _Entry) -> Match:
    """How well two phrases with the same head fit."""
    missing, extra = wanted.kinds - entry.kinds, entry.kinds - wanted.kinds
    if missing and extra:
        words_ = f"{' '.join(sorted(missing))} against {' '.join(sorted(extra))}"
        return Match(entry.name, 0.4, f"another kind of {entry.head}: {words_}")
    score = 1.0 - (0.25 if missing else 0.0) - 0.04 * min(len(extra), 4)
    score -= 0.02 * min(len(wanted.looks ^ entry.looks), 5) + 0.03 * min(len(wanted.looks - entry.looks), 3)
    hinted = wanted.hints & (entry.kinds | entry.looks | entry.hints)
    score += 0.05 * len(hinted)
    return Match(entry.name, min(score, 1.0), f"both are a {entry.head}" + (", less exactly named" if missing else ""))


def _stem(name: str) -> str:
    """A file name without folder and ending."""
    file = name.rsplit("/", 1)[-1]
    return file.rsplit(".", 1)[0] if "." in file else file


def _entries(text: str, name: str, *, is_name: bool) -> list[_Entry]:
    """Head and modifiers of a noun phrase, for each way of reading it; none when there is no noun in it."""
    hints = frozenset(map(_canonical, _hints(text)))
    return [_entry(name, whole, hints, is_name) for words_ in readings(text) if (whole := _compounded(words_))]


def _entry(name: str, whole: list[str], hints: frozenset[str], is_name: bool) -> _Entry:
    if is_name:  # `chair_red_v2`: what describes may come behind
        last = max((i for i, word in enumerate(whole) if not _only_describes(word) and len(word) > 1), default=None)
        whole = whole if last is None else [*whole[last + 1 :], *whole[: last + 1]]
    *before, head = whole
    if head == "glasses" and any(word not in EYEWEAR and not _describes(word) for word in before):
        head = "glass"  # to drink from; alone they are spectacles
    looks = frozenset(word for word in before if _describes(word))
    kinds = frozenset(_undoubled(_canonical(word)) for word in before if word not in looks)
    joined = {"".join([*before, head]), "".join([*(word for word in before if word not in looks), head])}
    return _Entry(name, _canonical(head), head, kinds, looks, frozenset(joined), hints)


def _all_words(entry: _Entry) -> frozenset[str]:
    return entry.kinds | {_undoubled(entry.head)}


def _hints(text: str) -> list[str]:
    found = [singular(word) for word in words(text)]
    at = next((i for i, word in enumerate(found) if word in PREPOSITIONS and i), len(found))
    return [word for word in found[at:] if word not in PREPOSITIONS]


def _compounded(found: list[str]) -> list[str]:
    """Words that only together mean the thing, joined: hot dog -> hotdog; numbers go."""
    out: list[str] = []
    for word in found:
        if word[0].isdigit():
            continue
        if out and out[-1] + word in _JOINED:
            out[-1] += word
        else:
            out.append(word)
    return out


def _describes(word: str) -> bool:
    if word in _DESCRIBING:
        return True
    return len(word) > 4 and word.endswith(DESCRIBING_ENDINGS) and word not in NOT_DESCRIBING


def _only_describes(word: str) -> bool:
    return _describes(word) and word not in THINGS_TOO


def _canonical(word: str) -> str:
    return _CANONICAL.get(word, word)


def _one_slip(a: str, b: str) -> bool:
    """Whether two words differ by no more than a slip of the pen that seldom gives another word.

    Letters doubled or not; two neighbours swapped, from five letters on; one letter within wrong, missing or too
    many from seven on. A letter at the end more or less is another word: table and tablet, pear and pearl.
    """
    a, b = sorted((_undoubled(a), _undoubled(b)), key=len)
    if len(a) < _MIN_DOUBLED or a[0] != b[0] or len(b) - len(a) > 1:
        return False
    if len(a) == len(b):
        differ = [i for i, (x, y) in enumerate(zip(a, b, strict=True)) if x != y]
        is_swap = len(differ) == 2 and differ[1] == differ[0] + 1 and a[differ[0]] == b[differ[1]]
        is_swap = is_swap and a[differ[1]] == b[differ[0]] and len(a) >= _MIN_SWAP
        return not differ or is_swap or (len(differ) == 1 and differ[0] < len(a) - 1 and len(a) >= _MIN_EDIT)
    begin = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), len(a))
    return len(b) >= _MIN_EDIT and begin < len(a) and a[begin:] == b[begin + 1 :]


def _undoubled(word: str) -> str:
    return "".join(letter for i, letter in enumerate(word) if i == 0 or word[i - 1] != letter)
