import subprocess
import sys
from pathlib import Path

import pytest

from landweave.core.whole_files import whole_file, write_whole


def test_files_are_there_together_or_not_at_all(tmp_path: Path) -> None:
    write_whole(tmp_path / "new", {"a": b"1", "b": b"2"})
    with pytest.raises(OSError, match="no/c"):
        write_whole(tmp_path / "new", {"a": b"other", "no/c": b""})
    assert {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()} == {"a": b"1", "b": b"2"}


def half_written(path: Path) -> None:
    with whole_file(path) as part:
        part.write_bytes(b"half")
        part.with_name(f"{part.name}-journal").write_bytes(b"")
        raise KeyError


@pytest.mark.parametrize("name", ["sample.gpkg", "sample[1].gpkg"])
def test_what_was_half_written_is_removed_with_what_lies_beside_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(KeyError):
        half_written(path)
    assert list(tmp_path.iterdir()) == []
    with whole_file(path) as part:
        assert part.suffix == ".gpkg"
        part.write_bytes(b"whole")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"whole"]


def test_two_processes_that_write_one_file_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "sample.gpkg"
    with whole_file(path) as last:
        last.write_bytes(b"last")
        with whole_file(path) as first:
            first.write_bytes(b"first")
        assert path.read_bytes() == b"first"
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"last"]


@pytest.mark.parametrize("killed", [True, False])
def test_what_a_killed_process_left_is_removed_and_nothing_of_a_living_one(tmp_path: Path, killed: bool) -> None:
    path = tmp_path / "sample[1].gpkg"
    code = (
        "import sys, pathlib, time; from landweave.core.whole_files import whole_file\n"
        f"with whole_file(pathlib.Path({str(path)!r})) as part:\n"
        "    part.write_bytes(b'half'); print(flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if killed:
            process.kill()
            process.wait()
        with whole_file(path) as part:
            part.write_bytes(b"whole")
        assert sum(each != path for each in tmp_path.iterdir()) == (0 if killed else 1)
        process.kill()
    with whole_file(path) as part:
        part.write_bytes(b"again")
    assert [each.read_bytes() for each in tmp_path.iterdir()] == [b"again"]
