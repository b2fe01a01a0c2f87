"""A printable marker: one A4 page with the tag at its true size, drawn as SVG in millimetres or PNG at 300 dpi."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from mapping.metric import markers

_PAGE_MM = (210.0, 297.0)
_QUIET_CELLS = 1.0
"""White around the black square, without which nobody finds it."""
_TOP_MM = 30.0
_LINE_MM = 7.0
_DOTS_PER_MM = 300 / 25.4


class MarkerPage:
    """What is on the page: all lengths in millimetres, from its upper left corner."""

    def __init__(self, marker: int, kind: markers.Config) -> None:
        """
        Raises:
            ValueError: there is no such marker, or it does not fit on the page.
        """
        self.marker, self.kind = marker, kind
        self._cells = markers.cells(kind.dictionary, marker)
        self._edge_mm = kind.size_m * 1000
        quiet_mm = _QUIET_CELLS * self._edge_mm / len(self._cells)
        widest_mm = _PAGE_MM[0] / (1 + 2 * _QUIET_CELLS / len(self._cells))
        if self._edge_mm + 2 * quiet_mm > _PAGE_MM[0]:
            raise ValueError(
                f"{self._edge_mm:g} mm do not fit on A4 with the white that a marker needs around it: "
                f"at most {int(widest_mm)} mm"
            )
        self._left_mm = (_PAGE_MM[0] - self._edge_mm) / 2

    def write(self, path: Path) -> None:
        """
        Raises:
            ValueError: the suffix is neither .svg nor .png.
            OSError: it cannot be written.
        """
        match path.suffix.lower():
            case ".svg":
                path.write_text(self.svg(), encoding="utf-8")
            case ".png":
                path.write_bytes(self.png())
            case other:
                raise ValueError(f"a marker is written as .svg or .png, not as {other or 'a file without a suffix'}")

    def svg(self) -> str:
        """The page as a document whose unit is the millimetre."""
        width, height = _PAGE_MM
        step = self._edge_mm / len(self._cells)
        black = "".join(
            f"M{self._left_mm + x * step:.4f} {_TOP_MM + y * step:.4f}h{n * step:.4f}v{step:.4f}h{-n * step:.4f}z"
            for y, x, n in _runs(self._cells)
        )
        texts = "".join(
            f'<text x="{width / 2:g}" y="{y:.2f}" font-size="4.5" text-anchor="middle" font-family="sans-serif">'
            f"{line}</text>\n"
            for y, line in self._lines()
        )
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}mm" height="{height:g}mm" '
            f'viewBox="0 0 {width:g} {height:g}">\n'
            f'<rect width="{width:g}" height="{height:g}" fill="#fff"/>\n'
            f'<path d="{black}" shape-rendering="crispEdges"/>\n{texts}</svg>\n'
        )

    def png(self) -> bytes:
        """The page as pixels that know their size."""
        width, height = (round(mm * _DOTS_PER_MM) for mm in _PAGE_MM)
        page = np.full((height, width), 255, np.uint8)
        edge = round(self._edge_mm * _DOTS_PER_MM)
        x, y = round(self._left_mm * _DOTS_PER_MM), round(_TOP_MM * _DOTS_PER_MM)
        dots = np.arange(edge) * len(self._cells) // edge  # which cell each dot is of
        page[y : y + edge, x : x + edge] = np.where(self._cells[np.ix_(dots, dots)], 0, 255)
        for line_mm, line in self._lines():
            (wide, _), _ = cv2.getTextSize(line, cv2.FONT_HERSHEY_SIMPLEX, 1.6, 3)
            at = (width - wide) // 2, round(line_mm * _DOTS_PER_MM)
            cv2.putText(page, line, at, cv2.FONT_HERSHEY_SIMPLEX, 1.6, 0, 3, cv2.LINE_AA)
        is_written, encoded = cv2.imencode(".png", page)
        assert is_written
        return _with_resolution(encoded.tobytes(), round(_DOTS_PER_MM * 1000))

    def _lines(self) -> Iterator[tuple[float, str]]:
        lines = (
            f"{self.kind.dictionary}, id {self.marker}: {self._edge_mm / 10:g} cm edge of the black square",
            "Print at 100 %, not fitted to the page; measure the edge.",
            "Lay or hang it flat, where every phone sees it from several sides.",
            "One copy in a scene: another place takes another id.",
        )
        first_mm = _TOP_MM + self._edge_mm * (1 + _QUIET_CELLS / len(self._cells)) + 2 * _LINE_MM
        return ((first_mm + i * _LINE_MM, line) for i, line in enumerate(lines))


def _runs(cells: NDArray[np.bool_]) -> Iterator[tuple[int, int, int]]:
    """(row, column, length) of every run of black cells, so that no hair line parts neighbours."""
    for y, row in enumerate(cells):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row, [False]])))
        for x, end in edges.reshape(-1, 2).tolist():
            yield y, x, end - x


def _with_resolution(png: bytes, dots_per_m: int) -> bytes:
    """A PNG with its `pHYs` chunk, which follows the header (8 + 25 bytes)."""
    chunk = b"pHYs" + struct.pack(">IIB", dots_per_m, dots_per_m, 1)
    return png[:33] + struct.pack(">I", 9) + chunk + struct.pack(">I", zlib.crc32(chunk)) + png[33:]
