"""Credentials of object stores: of options, a profile or the environment; renewed before they expire."""

import os
import sys
import time
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import obstore
import pytest
from obstore.exceptions import GenericError

from landweave.core.errors import ConfigError
from landweave.store.clients import open_client
from landweave.store.credentials import credential_provider, stated_options
from landweave.store.gdal_options import file_options
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


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment that says nothing of stores, with files of profiles in the test's folder."""
    for name in [each for each in os.environ if each.startswith(("AWS_", "AZURE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    return monkeypatch


def signed(url: str, options: dict) -> dict[str, str]:
    """What the client of a store signs a request with."""
    address = obstore.sign(open_client(url, tuple(options.items())), "GET", "a", timedelta(minutes=1))
    return dict(parse_qsl(urlsplit(address).query))


KEYS = {"access_key_id": "OWN", "secret_access_key": "secret", "region": "eu"}


def test_nothing_of_the_environment_counts_beside_given_keys(alone: pytest.MonkeyPatch) -> None:
    alone.setenv("AWS_ACCESS_KEY_ID", "OTHER")
    alone.setenv("AWS_SECRET_ACCESS_KEY", "other")
    alone.setenv("AWS_SESSION_TOKEN", "session")
    query = signed("s3://maps/1", KEYS)
    assert query["X-Amz-Credential"].startswith("OWN/")
    assert "X-Amz-Security-Token" not in query
    assert signed("s3://maps/2", {**KEYS, "token": "mine"})["X-Amz-Security-Token"] == "mine"
    assert file_options("s3://maps/a.tif", tuple(KEYS.items()))["AWS_SESSION_TOKEN"] == ""
    assert file_options("s3://maps/a.tif", (("profile", "p"),))["AWS_ACCESS_KEY_ID"] == ""


@pytest.mark.parametrize("sas", ["sas_key", "sas_token", "AZURE_STORAGE_SAS_TOKEN"])
def test_a_given_sas_token_signs_alone(alone: pytest.MonkeyPatch, sas: str) -> None:
    alone.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    alone.setenv("AZURE_STORAGE_CONNECTION_STRING", "AccountName=other")
    options = {"account_name": "account", sas: "sv=1&sig=x"}
    assert "account_key" not in stated_options("az://maps/a", tuple(options.items()))
    with pytest.raises(GenericError, match="SAS"):  # which a key would not raise
        signed("az://maps/a", options)
    assert file_options("az://maps/a.tif", tuple(options.items()))["AZURE_STORAGE_CONNECTION_STRING"] == ""


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"endpoint": "http://a", "aws_endpoint_url": "http://b"}, "the option endpoint is given twice"),
        ({"endpoint": "minio:9000"}, "begins with http:// or https://"),
    ],
)
@pytest.mark.usefixtures("alone")
def test_options_that_contradict_or_lack(options: dict, message: str) -> None:
    for opened in (open_client, file_options):
        with pytest.raises(ConfigError, match=message):
            opened("s3://maps/a", tuple(options.items()))


def test_the_default_profile_counts_where_nothing_else_does(tmp_path: Path, alone: pytest.MonkeyPatch) -> None:
    (tmp_path / "keys").write_text("[default]\naws_access_key_id = FILE\naws_secret_access_key = secret\n")
    (tmp_path / "config").write_text("[default]\nregion = eu-west-3\nendpoint_url = http://host:9000\n")
    for blank in ("AWS_ACCESS_KEY_ID", "AWS_REGION", "AWS_SESSION_TOKEN"):
        alone.setenv(blank, "")
    alone.setenv("AWS_SKIP_SIGNATURE", "false")
    query = signed("s3://maps/3", {"anonymous": False})
    assert "/".join(query["X-Amz-Credential"].split("/")[::2][:2]) == "FILE/eu-west-3"
    assert stated_options("s3://maps/a", ())["endpoint"] == "http://host:9000"
    alone.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")
    assert "endpoint" not in stated_options("s3://maps/a", ())
    alone.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", "/token")
    assert credential_provider("s3://maps/a", {}) is None


@pytest.mark.usefixtures("alone")
def test_a_damaged_file_of_profiles_is_no_matter_of_who_needs_none(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("[default\n")
    open_client("s3://maps/4", (("anonymous", True),))
    with pytest.raises(ConfigError, match="credentials of profile 'p' cannot be read"):
        open_client("s3://maps/5", (("profile", "p"),))
