"""English names of things as words that can be compared: lower case, singular, and which of them is the head.

The head of an English noun phrase is its last noun before a preposition: a "coffee mug with a lid" is a mug, a "chess
board" is a board. Endings follow the general rules of English spelling; the few irregular plurals of things are listed.
"""

from __future__ import annotations

import re
import unicodedata

from mapping.objects.english import FILLERS, IRREGULAR, MEASURES, PREPOSITIONS, UNCHANGED


def words(text: str) -> list[str]:
    """Lower-case words of a text or file name, accents dropped, CamelCase and underscores taken apart."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return re.findall(r"[a-z]+|[0-9]+(?:\.[0-9]+)?", apart.lower().replace("'s", "").replace("'", ""))


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


def phrase(text: str) -> list[str]:
    """The singular words of a noun phrase up to its first preposition, head last; articles are left out.

    "pair of", "set of", "piece of" and the like are measures: what counts is behind them.
    """
    found = [singular(word) for word in words(text)]
    while len(found) > 2:
        at = next((i for i, word in enumerate(found) if word == "of"), None)
        if at is None or at == 0 or found[at - 1] not in MEASURES:
            break
        found = found[at + 1 :]
    kept: list[str] = []
    for word in found:
        if word in PREPOSITIONS and kept:
            break
        if word not in FILLERS and word not in PREPOSITIONS:
            kept.append(word)
    return kept
