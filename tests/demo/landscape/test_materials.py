"""A palette holds a material once."""

from __future__ import annotations

from landweave_demo.landscape.materials import MEADOW, TILES, Palette


def test_a_palette_holds_a_material_once() -> None:
    palette = Palette()
    assert [palette.add(MEADOW), palette.add(TILES), palette.add(MEADOW)] == [0, 1, 0]
    assert palette.codes().tolist() == [8, 0]
    assert palette.table().shape == (2, 13)
