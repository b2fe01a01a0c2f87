"""English names of things as words that can be compared: lower case, singular, and which of them is the head.

The head of an English noun phrase is its last noun before a preposition: a "coffee mug with a lid" is a mug, a "chess
board" is a board. Endings follow the general rules of English spelling; the few irregular plurals of things are listed.
"""

from __future__ import annotations

import re
import unicodedata

_IRREGULAR = {
    "men": "man", "women": "woman", "children": "child", "people": "person", "feet": "foot", "teeth": "tooth",
    "geese": "goose", "mice": "mouse", "lice": "louse", "oxen": "ox", "dice": "die", "cacti": "cactus",
    "fungi": "fungus", "knives": "knife", "lives": "life", "wives": "wife", "selves": "self", "shoes": "shoe",
    "toes": "toe", "canoes": "canoe", "axes": "axe", "pies": "pie", "ties": "tie", "movies": "movie",
    "cookies": "cookie", "brownies": "brownie", "hoodies": "hoodie", "quizzes": "quiz", "buses": "bus",
    "gases": "gas", "lenses": "lens", "vases": "vase", "bases": "base", "cases": "case", "houses": "house",
    "horses": "horse", "nurses": "nurse", "purses": "purse", "hoses": "hose", "roses": "rose", "noses": "nose",
    "blouses": "blouse", "cheeses": "cheese", "moustaches": "moustache", "headaches": "headache", "caches": "cache",
}  # fmt: skip
_UNCHANGED = {
    "scissors", "glasses", "sunglasses", "eyeglasses", "goggles", "trousers", "pants", "jeans", "shorts", "tongs",
    "pliers", "tweezers", "binoculars", "headphones", "stairs", "series", "species", "sheep", "fish", "deer",
    "gas", "bus", "lens", "canvas", "atlas", "iris", "tennis", "chess", "christmas", "always", "plus", "yes", "us",
    "this", "is", "has", "was", "its", "clothes", "news", "bellows", "gallows", "compass", "dress", "glass", "cross",
}  # fmt: skip
PREPOSITIONS = frozenset(
    ["with", "without", "of", "for", "in", "on", "at", "from", "by", "to", "into", "onto", "under", "over", "near", "beside", "behind", "above", "below", "between", "containing", "holding", "made", "featuring", "having", "wearing", "and", "or", "that", "which", "who", "inside", "outside", "against"]
)
FILLERS = frozenset(
    ["a", "an", "the", "some", "one", "my", "your", "his", "her", "our", "their", "this", "that", "please", "make", "create", "generate", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "several", "many", "few"]
)


def words(text: str) -> list[str]:
    """Lower-case words of a text or file name, accents dropped, CamelCase and underscores taken apart."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode()
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", " ", plain)
    return re.findall(r"[a-z]+|[0-9]+(?:\.[0-9]+)?", apart.lower().replace("'s", "").replace("'", ""))


def singular(word: str) -> str:
    """One of them, by the general rules of English plurals."""
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if word in _UNCHANGED or len(word) < 4 or not word.endswith("s") or word.endswith(("ss", "us", "is")):
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


MEASURES = frozenset(
    ["pair", "set", "piece", "bunch", "slice", "loaf", "bar", "stack", "pile", "group", "collection", "couple", "row", "model", "picture", "photo", "image"]
)
