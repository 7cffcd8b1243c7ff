"""Credentials of object stores: of a profile, renewed before they expire; options as GDAL calls them."""

import sys
import time
from pathlib import Path

import pytest

from landweave.core.errors import ConfigError
from landweave.store.clients import RETRY, file_options, open_client
from landweave.store.objects import Target
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.marks import mostly_slow

PROGRAM = """
import json, sys
from datetime import datetime, timedelta, timezone
with open({log!r}, "a") as log:
    log.write("x")
expires = datetime.now(timezone.utc) + timedelta(seconds={seconds})
keys = {{"AccessKeyId": "testing", "SecretAccessKey": "testing", "SessionToken": "token"}}
print(json.dumps({{"Version": 1, **keys, "Expiration": expires.isoformat()}}))
"""


@pytest.fixture
def profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A profile whose program gives keys for two seconds; the file that counts how often it was asked."""
    log, program = tmp_path / "asked", tmp_path / "keys.py"
    program.write_text(PROGRAM.format(log=str(log), seconds=2))
    text = f"[profile maps]\nregion = us-east-1\ncredential_process = {sys.executable} {program}\n"
    (tmp_path / "config").write_text(text)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    return log


@pytest.mark.parametrize("named_by", mostly_slow(["option", "environment"], fast=["option"]))
def test_credentials_of_a_profile_are_renewed(profile: Path, monkeypatch: pytest.MonkeyPatch, named_by: str) -> None:
    with counted_s3() as s3:
        options = {"endpoint": s3.storage_options["endpoint"]}
        if named_by == "option":
            options["profile"] = "maps"
        else:
            monkeypatch.setenv("AWS_PROFILE", "maps")
        target = Target.parse(f"s3://{BUCKET}/{named_by}", options)
        target.put("a", b"1")
        before = len(profile.read_text())
        time.sleep(2.1)
        target.put("b", b"2")
        assert (target.get("a"), target.get("b")) == (b"1", b"2")
        assert len(profile.read_text()) > before >= 1


@pytest.mark.usefixtures("profile")
def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"profile 'nobody' cannot be read"):
        Target.parse("s3://maps/a", {"profile": "nobody"})


PROGRAMS = ["/no/such/program", "echo keys", "false"]


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.usefixtures("profile")
def test_a_program_that_gives_no_keys_is_an_error_of_its_profile(tmp_path: Path, program: str) -> None:
    (tmp_path / "config").write_text(f"[profile ill]\ncredential_process = {program}\n")
    with pytest.raises(ConfigError, match="credentials of profile 'ill' cannot be read"):
        Target.parse("s3://maps/b", {"profile": "ill"})


SERVICES = "services = own\n[services own]\ns3 =\n  endpoint_url = {endpoint}\n"


@pytest.mark.parametrize("endpoint", ["endpoint_url = {endpoint}\n", SERVICES])
@pytest.mark.usefixtures("profile")
def test_what_aws_configure_wrote_counts_where_nothing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / f"keys{len(endpoint)}"))
    keys = "[default]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    (tmp_path / f"keys{len(endpoint)}").write_text(keys)
    with counted_s3() as s3:
        address = s3.storage_options["endpoint"]
        (tmp_path / "config").write_text(f"[default]\nregion = us-east-1\n{endpoint.format(endpoint=address)}")
        target = Target.parse(f"s3://{BUCKET}/{len(endpoint)}")
        target.put("a", b"1")
        assert file_options(str(target), ())["AWS_S3_ENDPOINT"] == address.removeprefix("http://")
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        assert Target.parse(f"s3://{BUCKET}/{len(endpoint)}/").get("a") == b"1"


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
    }
    with pytest.raises(ConfigError, match="checksum_algorithm is no option of files"):
        file_options("s3://maps/a.tif", (("checksum_algorithm", "sha256"),))


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
