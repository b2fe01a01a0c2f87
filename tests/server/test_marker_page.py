"""The printed marker: a page of true size on which the server's own finder finds it."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from server.__main__ import app

RUN = CliRunner()
SVG = "{http://www.w3.org/2000/svg}"


def print_marker(path: Path, *options: str) -> str:
    done = RUN.invoke(app, ["marker", str(path), *options])
    assert done.exit_code == 0, done.output
    return done.output


def corners_mm(page: np.ndarray, dots_per_mm: float, marker: int) -> np.ndarray:
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_APRILTAG_36h11))
    corners, ids, _ = detector.detectMarkers(page)
    assert ids.ravel().tolist() == [marker]
    return np.asarray(corners[0].reshape(4, 2) / dots_per_mm)


def test_a_picture_holds_the_marker_at_its_true_size(tmp_path: Path) -> None:
    print_marker(tmp_path / "marker.png", "--id", "3")
    encoded = (tmp_path / "marker.png").read_bytes()
    at = encoded.index(b"pHYs")
    dots_per_m, _, unit = np.frombuffer(encoded[at + 4 : at + 13], np.dtype(">u4,>u4,u1"))[0]
    assert (int(unit), round(int(dots_per_m) * 0.0254)) == (1, 300)
    page = cv2.imread(str(tmp_path / "marker.png"), cv2.IMREAD_GRAYSCALE)
    assert page is not None
    assert np.round(np.array(page.shape) / int(dots_per_m) * 1000).tolist() == [297, 210]
    corners = corners_mm(page, int(dots_per_m) / 1000, 3)
    np.testing.assert_allclose(np.linalg.norm(corners - np.roll(corners, 1, axis=0), axis=1), 160, atol=0.5)


def test_a_drawing_is_in_millimetres_and_says_what_it_is(tmp_path: Path) -> None:
    print_marker(tmp_path / "marker.svg")
    page = ElementTree.parse(tmp_path / "marker.svg").getroot()
    assert (page.get("width"), page.get("height"), page.get("viewBox")) == ("210mm", "297mm", "0 0 210 297")
    assert "id 0: 16 cm edge of the black square" in "".join(page.itertext())
    drawn = np.full((297 * 4, 210 * 4), 255, np.uint8)
    path = page.find(f"{SVG}path")
    assert path is not None
    for run in re.findall(r"M([\d.]+) ([\d.]+)h([\d.]+)v([\d.]+)", path.get("d", "")):
        x, y, wide, high = (float(number) * 4 for number in run)
        drawn[round(y) : round(y + high), round(x) : round(x + wide)] = 0
    corners = corners_mm(drawn, 4, 0)
    np.testing.assert_allclose(np.ptp(corners, axis=0), 160, atol=0.5)


def test_what_the_server_would_not_find_is_said(tmp_path: Path) -> None:
    assert "does not look for" not in print_marker(tmp_path / "a.svg")
    assert "does not look for" in print_marker(tmp_path / "b.svg", "--id", "12")
    assert "size_m = 0.1" in print_marker(tmp_path / "c.svg", "--size-m", "0.1")


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [("a.gif", [], ".svg or .png"), ("a.svg", ["--id", "700"], "0 to 586"), ("a.svg", ["--size-m", "0.5"], "168 mm")],
)
def test_what_cannot_be_printed_is_refused(tmp_path: Path, name: str, options: list[str], why: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("server.__main__.problems.print", lambda text, **_: said.append(text))
        assert RUN.invoke(app, ["marker", str(tmp_path / name), *options]).exit_code == 1
    assert why in said[0]
    assert not (tmp_path / name).exists()
