"""Options of object stores as GDAL calls them."""

import pytest

from landweave.core.errors import ConfigError
from landweave.store.gdal_options import file_options


def test_a_host_that_holds_the_bucket_is_named_so_to_gdal() -> None:
    given = {"endpoint": "https://maps.s3.org", "virtual_hosted_style_request": True}
    named = file_options("s3://maps/a.tif", tuple(given.items()))
    assert (named["AWS_S3_ENDPOINT"], named["AWS_VIRTUAL_HOSTING"]) == ("s3.org", "TRUE")


def test_options_are_those_of_gdal_too() -> None:
    given = {"endpoint": "http://host:9000", "region": "eu", "access_key_id": "a", "aws_secret_access_key": "b"}
    assert file_options("s3://maps/a.tif", tuple(given.items())) == {
        "AWS_HTTPS": "NO",
        "AWS_S3_ENDPOINT": "host:9000",
        "AWS_VIRTUAL_HOSTING": "FALSE",
        "AWS_REGION": "eu",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_SESSION_TOKEN": "",
    }
    with pytest.raises(ConfigError, match="checksum_algorithm is no option of files"):
        file_options("s3://maps/a.tif", (("checksum_algorithm", "sha256"),))
