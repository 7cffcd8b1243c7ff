"""What a worker cannot read is named; a folder of a cube is read as one."""

from pathlib import Path

from landweave.core.protocols import SourceFile
from landweave.jobs.needs import file_problems


def test_files_and_folders_that_are_there_are_no_problem_and_others_are_named(tmp_path: Path) -> None:
    (tmp_path / "cube.zarr").mkdir()
    (tmp_path / "a.tif").write_bytes(b"II")
    names = ("cube.zarr", "a.tif", "gone.tif")
    files = [SourceFile(id=name, location=str(tmp_path / name), size=2, version="1", format="GTiff") for name in names]
    (problem,) = file_problems(("SPOT", file) for file in files)
    assert "SPOT" in problem
    assert "gone.tif cannot be read" in problem
