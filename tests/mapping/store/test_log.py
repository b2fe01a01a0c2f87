"""The log gives back exactly the whole groups in front of the first bad byte, wherever that byte is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapping import disk
from mapping.store import log
from mapping.store.log import LogError, LogWriter

Groups = list[list[bytes]]


def write(path: Path, groups: Groups, first_sequence: int = 1) -> None:
    writer = LogWriter.create(path, first_sequence)
    for group in groups:
        writer.append(group)
    writer.flush()
    writer.sync()
    writer.close()


def read(path: Path) -> Groups:
    return [[bytes(payload) for payload in payloads] for _, payloads in log.groups(path)]


GROUPS = st.lists(st.lists(st.binary(max_size=40), min_size=1, max_size=4), max_size=8)


@given(groups=GROUPS, first=st.integers(0, 2**60))
def test_what_goes_in_comes_out(groups: Groups, first: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "a.log"
    write(path, groups, first)
    assert read(path) == groups
    extent = log.scan(path)
    assert (extent.first_sequence, extent.groups, extent.cut_bytes) == (first, len(groups), 0)
    assert extent.last_sequence == first + len(groups) - 1


@given(groups=GROUPS, data=st.data())
def test_any_tail_may_be_missing(groups: Groups, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "a.log"
    write(path, groups)
    whole = path.read_bytes()
    header = len(whole) - sum(8 + len(payload) for group in groups for payload in group)
    path.write_bytes(whole[: data.draw(st.integers(header, len(whole)))])
    kept = read(path)
    assert kept == groups[: len(kept)]
    extent = log.recover(path)
    assert path.stat().st_size == extent.good_bytes
    writer = LogWriter(path, extent)
    assert writer.append([b"after"]) == len(kept) + 1
    writer.flush()
    assert read(path) == [*groups[: len(kept)], [b"after"]]


@given(groups=GROUPS.filter(bool), data=st.data())
def test_any_byte_may_be_wrong(groups: Groups, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("log") / "a.log"
    write(path, groups)
    damaged = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(damaged) - 1))
    damaged[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(damaged)
    try:
        kept = read(path)
    except LogError:
        return  # the header was hit
    assert kept == groups[: len(kept)]
    assert len(kept) < len(groups)


@pytest.mark.parametrize("tail", [bytes(4096), b"\xff" * 4096, b"\x05\0\0\0"])
def test_what_a_power_cut_leaves_behind_is_cut(tmp_path: Path, tail: bytes) -> None:
    path = tmp_path / "a.log"
    write(path, [[b"one"], [b"two", b"three"]])
    with path.open("ab") as file:
        file.write(tail)
    assert log.recover(path).cut_bytes == len(tail)
    assert read(path) == [[b"one"], [b"two", b"three"]]


def test_a_group_is_all_there_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    write(path, [[b"one"], [b"two", b"three"]])
    path.write_bytes(path.read_bytes()[:-1])
    assert read(path) == [[b"one"]]


def test_payloads_are_capped_and_groups_are_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "MAX_PAYLOAD_BYTES", 10)
    writer = LogWriter.create(tmp_path / "a.log", 1)
    with pytest.raises(ValueError, match="11 bytes"):
        writer.append([b"ok", b"x" * 11])
    with pytest.raises(ValueError, match="at least one"):
        writer.append([])
    assert writer.append([b"x" * 10]) == 1
    writer.flush()
    assert read(tmp_path / "a.log") == [[b"x" * 10]]


@pytest.mark.parametrize("content", [b"", b"CGLOG", b"x" * 100])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(content)
    with pytest.raises(LogError):
        log.scan(path)


def test_newer_format_says_upgrade(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "VERSION", 2)
    write(tmp_path / "a.log", [])
    monkeypatch.undo()
    with pytest.raises(LogError, match="upgrade"):
        log.scan(tmp_path / "a.log")


def test_after_a_failed_sync_nothing_is_promised_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = LogWriter.create(tmp_path / "a.log", 1)
    writer.append([b"one"])
    writer.flush()

    def broken(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(disk, "sync_file", broken)
    with pytest.raises(LogError, match="Input/output error"):
        writer.sync()
    monkeypatch.undo()
    for retry in (writer.sync, writer.flush, lambda: writer.append([b"two"])):
        with pytest.raises(LogError, match="reopened"):
            retry()


def test_much_is_written_before_anybody_asks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pending bytes are bounded: what exceeds the bound goes to the file without a flush."""
    monkeypatch.setattr(log, "WRITE_ABOVE_BYTES", 100)
    writer = LogWriter.create(tmp_path / "a.log", 1)
    for _ in range(10):
        writer.append([b"x" * 30])
    assert len(read(tmp_path / "a.log")) >= 7
