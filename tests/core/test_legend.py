"""Classes as stored: codes that ascend, 255 never among them."""

from typing import Any

import pytest

from landweave.core.errors import CardError
from landweave.core.legend import NODATA, LandClass, Legend, plain_name


def classes(*codes: int, **changes: Any) -> tuple[LandClass, ...]:
    return tuple(LandClass(code=code, name=f"class {code}", color="#0a0b0c", **changes) for code in codes)


def test_channels_codes_and_colours_go_together() -> None:
    legend = Legend(name="some", classes=(*classes(0, 3), *classes(7, trained=False)))
    assert len(legend) == 3
    assert legend.codes == (0, 3, 7)
    assert legend.trained == (True, True, False)
    assert legend.colors == dict.fromkeys((0, 3, 7), (10, 11, 12))
    assert legend.names == {0: "class 0", 3: "class 3", 7: "class 7"}


def test_classes_have_their_names_in_both_languages_in_any_spelling() -> None:
    made = (("Bare soil", "Sol nu"), ("Conifer", "Forêt"), ("forest", "Bâti"), ("building", "bâti"), ("Serre", ""))
    listed = (LandClass(code=n, name=name, name_fr=french, color="#0a0b0c") for n, (name, french) in enumerate(made))
    codes = Legend(name="some", classes=tuple(listed)).codes_by_name
    assert codes == {"bare soil": 0, "sol nu": 0, "conifer": 1, "forêt": 1, "forest": 2, "building": 3, "serre": 4}
    assert codes[plain_name(" FORE\u0302T ")] == 1


@pytest.mark.parametrize("code", [-1, NODATA, 300])
def test_nodata_is_never_a_class(code: int) -> None:
    with pytest.raises(CardError, match=rf"code {code}: codes run from 0 to 254, 255 is nodata"):
        classes(code)


@pytest.mark.parametrize("color", ["red", "#12345", "1234567", "#gg0000"])
def test_a_colour_is_written_in_one_way(color: str) -> None:
    with pytest.raises(CardError, match="#rrggbb"):
        LandClass(code=1, name="roof", color=color)


@pytest.mark.parametrize("codes", [(), (2, 1), (1, 1)])
def test_codes_ascend_each_once(codes: tuple[int, ...]) -> None:
    with pytest.raises(CardError, match="must ascend"):
        Legend(name="some", classes=classes(*codes))


def test_a_legend_needs_a_trained_class() -> None:
    with pytest.raises(CardError, match="no trained class"):
        Legend(name="some", classes=classes(0, 1, trained=False))


@pytest.mark.parametrize(
    ("names", "said"), [(("lawn", "lawn"), "'lawn' to several"), (("a b", "a_b"), "'a b' to"), (("", "b"), "no name")]
)
def test_classes_are_told_by_their_names(names: tuple[str, str], said: str) -> None:
    """Hectares and minimum units go by them, and two columns of one name are one."""
    listed = [LandClass(code=code, name=name, color="#0a0b0c") for code, name in enumerate(names)]
    with pytest.raises(CardError, match=said):
        Legend(name="some", classes=tuple(listed))
