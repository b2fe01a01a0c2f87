"""The text that STEP files are made of (ISO 10303-21): numbered lines, each an entity that names others."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Ref:
    """Another line, by its number."""

    number: int


@dataclass(frozen=True, slots=True)
class Plain:
    """What is written as it stands: `.T.`, `$`, `*`."""

    text: str


YES, NO, DERIVED = Plain(".T."), Plain(".F."), Plain("*")
Argument = Ref | Plain | str | float | int | tuple["Argument", ...]


@dataclass(slots=True)
class Part21:
    """A file as it grows."""

    _lines: list[str] = field(default_factory=list)

    def add(self, kind: str, *arguments: Argument) -> Ref:
        """A new entity."""
        return self.add_text(kind + _text(arguments))

    def add_text(self, text: str) -> Ref:
        """A new line that is written out already, as entities of several kinds at once are."""
        self._lines.append(f"#{len(self._lines) + 1}={text};")
        return Ref(len(self._lines))

    def encode(self, name: str, about: str, schema: str) -> bytes:
        """The file; it has no date, so that the same content is the same bytes."""
        stamp = (name, "1970-01-01T00:00:00", ("",), ("",), "Commonground", "Commonground", "")
        head = [
            "ISO-10303-21;",
            "HEADER;",
            f"FILE_DESCRIPTION{_text(((about,), '2;1'))};",
            f"FILE_NAME{_text(stamp)};",
            f"FILE_SCHEMA{_text(((schema,),))};",
            "ENDSEC;",
            "DATA;",
        ]
        return "\n".join([*head, *self._lines, "ENDSEC;", "END-ISO-10303-21;", ""]).encode("ascii")


def _text(argument: Argument) -> str:
    if isinstance(argument, tuple):
        return "(" + ",".join([_text(one) for one in argument]) + ")"
    if isinstance(argument, Ref):
        return f"#{argument.number}"
    if isinstance(argument, Plain):
        return argument.text
    if isinstance(argument, str):
        safe = "".join(letter if " " <= letter <= "~" else "_" for letter in argument)
        return "'" + safe.replace("\\", "_").replace("'", "''") + "'"
    if isinstance(argument, int):
        return str(argument)
    number = f"{argument:.9G}"
    return number if "." in number else number.replace("E", ".E") if "E" in number else number + "."
