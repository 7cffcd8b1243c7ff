"""Clients of object stores: what is tried again, and whose bucket it is."""

import pytest

from landweave.core.errors import ConfigError
from landweave.store.clients import RETRY, open_client


@pytest.mark.parametrize(
    ("text", "may_pass"),
    [
        ("Generic S3 error: Server returned non-2xx status code: 500 Internal", True),
        ("Generic S3 error: Client error with status 400 Bad Request", False),
        ("Generic S3 error: Client error with status 429 Too Many Requests", True),
        ("Generic LocalFileSystem error: No space left on device (os error 28)", False),
    ],
)
def test_what_may_pass(text: str, may_pass: bool) -> None:
    from obstore.exceptions import GenericError

    assert RETRY.is_transient(GenericError(text)) is may_pass


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("s3://maps/a.zarr", {"bucket": "other"}),
        ("s3://maps/a.zarr", {"AWS_BUCKET_NAME": "other"}),
        ("gs://maps/a.zarr", {"google_bucket": "other"}),
        ("az://maps/a.zarr", {"container_name": "other"}),
    ],
)
def test_a_bucket_is_named_once(url: str, options: dict[str, str]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=f"^{url} names its bucket, and the option {name} another one"):
        open_client(url, tuple(options.items()))
    same = {name: "maps"}
    if url.startswith("az"):
        same |= {"account_name": "account"}
    open_client(url, tuple(same.items()))
