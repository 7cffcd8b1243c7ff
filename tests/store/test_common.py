import pytest
import zarr
from obstore.exceptions import GenericError, PermissionDeniedError

from landweave.core.errors import InputError, OutputError, ReadError
from landweave.store.common import (
    HALF_MADE,
    check_format,
    consolidate,
    group_attributes,
    parsing,
    read_attributes,
    refuse_occupied,
    root_attributes,
    unread_group,
    writing,
)
from landweave.store.zarr_store import zarr_store


def test_attributes_of_a_group_are_read_as_they_are_now(any_target):
    assert group_attributes(any_target) is None
    assert group_attributes(any_target, "ledger") is None
    zarr.create_group(zarr_store(any_target), attributes={"a": 1})
    zarr.create_group(zarr_store(any_target), path="ledger", attributes={"b": [2]})
    consolidate(any_target)
    unread_group(any_target, "ledger", {"b": [2]}).attrs["c"] = 3
    assert (group_attributes(any_target), group_attributes(any_target, "ledger")) == ({"a": 1}, {"b": [2], "c": 3})


def test_a_half_made_store_is_none_and_may_be_begun_anew(any_target):
    zarr.create_group(zarr_store(any_target), attributes=HALF_MADE)
    assert read_attributes(any_target) is None
    refuse_occupied(any_target)
    unread_group(any_target).attrs.put(root_attributes("landweave-map", {"title": "T"}))
    assert read_attributes(any_target)["title"] == "T"
    with pytest.raises(OutputError, match=r"already holds a Zarr store"):
        refuse_occupied(any_target)


def test_what_is_no_metadata_is_named(target):
    target.put("zarr.json", b"{")
    with pytest.raises(InputError, match=r"map\.zarr/zarr\.json is damaged"):
        read_attributes(target)


@pytest.mark.parametrize("changes", [{"format": "landweave-map"}, {"format_version": 2}, {"format": None}])
def test_another_format_is_refused_with_both(changes):
    attributes = root_attributes("landweave-cube", {})
    check_format(attributes, "landweave-cube")
    with pytest.raises(InputError, match=r"Not a Landweave cube: .* version \d, 'landweave-cube' version 1"):
        check_format({**attributes, **changes}, "landweave-cube")


def test_what_a_store_raises_says_what_could_not_be_done(target):
    with (
        pytest.raises(OutputError, match=r"Cannot create a map at .*map\.zarr: denied"),
        writing(target, "create a map"),
    ):
        raise PermissionDeniedError("denied")
    with pytest.raises(OutputError, match="as it is"), writing(target, "create a map"):
        raise OutputError("as it is")
    with pytest.raises(ReadError, match=r"map\.zarr cannot be read: gone\. Check the place"), parsing("map.zarr"):
        raise GenericError("gone")
    with pytest.raises(InputError, match=r"map\.zarr is damaged"), parsing("map.zarr"):
        raise FileNotFoundError("zarr.json")
