"""What tells the kinds of sources apart."""

from landweave.core.protocols import has_dates


class LargeSeries:
    """A series of a year, whose observations take long to list."""

    cloud_mask = ()

    @property
    def observations(self):
        raise AssertionError("the observations were listed")

    fingerprint_fields = observations


class Mosaic:
    """A source without dates."""


def test_a_series_is_told_without_listing_its_observations():
    assert has_dates(LargeSeries())
    assert not has_dates(Mosaic())
