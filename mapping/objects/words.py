"""English names of things as words that can be compared: lower case, singular, and which of them is the head.

The head of an English noun phrase is its last noun before a preposition: a "coffee mug with a lid" is a mug, a "chess
board" is a board. Endings follow the general rules of English spelling; the few irregular plurals of things are listed.
"""

from __future__ import annotations

import re
import unicodedata

from mapping.objects.english import FILLERS, IRREGULAR, MEASURES, PREPOSITIONS, UNCHANGED

_LETTERS = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L"}
)


def words(text: str) -> list[str]:
    """Lower-case words of a text or file name, accents dropped, CamelCase and underscores taken apart."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain(text))
    return re.findall(r"[a-z]+|[0-9]+(?:\.[0-9]+)?", apart.lower().replace("'s", "").replace("'", ""))


def plain(text: str) -> str:
    """Without accents, in the letters of English as far as there are any: Größe is Grosse."""
    bare = unicodedata.normalize("NFKD", text.translate(_LETTERS))
    return bare.encode("ascii", "ignore").decode()


def singular(word: str) -> str:
    """One of them, by the general rules of English plurals."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if word in UNCHANGED or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("shes", "ches", "xes", "zes", "sses", "oes")):
        return word[:-2]
    if word.endswith(("lves", "eaves", "oaves")):
        return word[:-3] + "f"
    return word[:-1]


def readings(text: str) -> list[list[str]]:
    """A noun phrase as singular words, head last, in each way that it can be meant; the likeliest first.

    What stands behind a preposition is left out, but "A of B" is a B A: a loaf of bread, bread loaf. Where A only
    measures ("pair of", "slice of") it may be B itself that is meant.
    """
    found = [word for word in map(singular, words(text)) if word not in FILLERS]
    end = next((i for i, word in enumerate(found) if i and word in PREPOSITIONS), len(found))
    before = [word for word in found[:end] if word not in PREPOSITIONS]
    if end == len(found) or found[end] != "of":
        return [before] if before else []
    rest = found[end + 1 :]
    inner = rest[: next((i for i, word in enumerate(rest) if word in PREPOSITIONS), len(rest))]
    if len(before) > 1 and before[-1] == "full":
        before = before[:-1]
    whole = [*inner, *before]
    return [inner, whole] if before and inner and before[-1] in MEASURES else [whole]


def phrase(text: str) -> list[str]:
    """The likeliest of `readings`; empty when there is no noun."""
    return next(iter(readings(text)), [])
