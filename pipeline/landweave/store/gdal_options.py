"""Options of an object store as GDAL calls them, which reads files there."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from landweave.core.errors import ConfigError
from landweave.store.credentials import Options, is_true, own_name, stated_options


def file_options(location: str, storage_options: Options) -> dict[str, str]:
    """The same options as GDAL calls them, to read files of an object store.

    Parameters
    ----------
    location
        URL of a file or its bucket.
    storage_options
        As of `landweave.store.objects.Target`.

    Raises
    ------
    ConfigError
        For an option that GDAL has no counterpart of.
    """
    scheme = location.partition("://")[0]
    own = {own_name(scheme, name) for name, _ in storage_options}
    given = stated_options(location, storage_options)
    if scheme == "s3" and "endpoint" not in own and os.environ.get("AWS_S3_ENDPOINT"):  # which GDAL takes by itself
        given.pop("endpoint", None)
    named: dict[str, str] = {}
    for name, value in given.items():
        if name == "endpoint" and scheme == "s3":
            address = str(value)
            named["AWS_HTTPS"] = "NO" if address.startswith("http://") else "YES"
            is_virtual = is_true(given.get("virtual_hosted_style_request"))
            bucket = f"{urlsplit(location).netloc}." if is_virtual else ""  # GDAL puts it before the host itself
            named["AWS_S3_ENDPOINT"] = address.partition("://")[2].rstrip("/").removeprefix(bucket)
            named["AWS_VIRTUAL_HOSTING"] = "TRUE" if is_virtual else "FALSE"
        elif name == "endpoint" and scheme == "az":
            named["AZURE_STORAGE_CONNECTION_STRING"] = _connection(str(value), given)
        elif name == "service_account_key" and scheme == "gs":
            named |= _service_account(str(value))
        elif name in _OF_GDAL[scheme]:
            named[_OF_GDAL[scheme][name]] = {True: "YES", False: "NO"}.get(value, str(value))
        elif name != "virtual_hosted_style_request":
            known = ", ".join(_OF_GDAL[scheme])
            raise ConfigError(
                f"{name} is no option of files that are read from {scheme}://: endpoint (s3, az), {known} are."
            )
    return {**_instead_of_environment(scheme, own), **named}


def _instead_of_environment(scheme: str, own: set[str]) -> dict[str, str]:
    """Blanks in place of what GDAL would take from the environment beside, or before, the options that are given."""
    if scheme == "s3" and "profile" in own:
        return dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"), "")
    if scheme == "s3" and "access_key_id" in own:
        return {"AWS_SESSION_TOKEN": ""}
    return {"AZURE_STORAGE_CONNECTION_STRING": ""} if scheme == "az" and "account_name" in own else {}


def _connection(endpoint: str, given: Mapping[str, Any]) -> str:
    """The connection string of an Azure account at an endpoint of its own: GDAL takes that in no other form."""
    if given.get("anonymous"):
        raise ConfigError(
            "Files of az:// at an endpoint of its own are read with account_key or sas_key: GDAL reads none there "
            "anonymously. Leave anonymous out, or name them by https://."
        )
    names = {"account_name": "AccountName", "account_key": "AccountKey", "sas_key": "SharedAccessSignature"}
    parts = {theirs: given[ours] for ours, theirs in names.items() if ours in given}
    return ";".join(f"{name}={value}" for name, value in {**parts, "BlobEndpoint": endpoint}.items())


def _service_account(content: str) -> dict[str, str]:
    """A service account of Google as GDAL takes it, from the JSON of its key."""
    try:
        key = json.loads(content)
        named = {"GS_OAUTH2_PRIVATE_KEY": key["private_key"], "GS_OAUTH2_CLIENT_EMAIL": key["client_email"]}
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigError("service_account_key is not the JSON of a key with private_key and client_email.") from error
    if key.get("disable_oauth"):
        named = {"GS_NO_SIGN_REQUEST": "YES"}
    if base := key.get("gcs_base_url"):
        named["CPL_GS_ENDPOINT"] = f"{base.rstrip('/')}/"
    return named


_OF_GDAL: dict[str, dict[str, str]] = {
    "s3": {
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "token": "AWS_SESSION_TOKEN",
        "region": "AWS_REGION",
        "anonymous": "AWS_NO_SIGN_REQUEST",
        "profile": "AWS_PROFILE",
        "request_payer": "AWS_REQUEST_PAYER",
    },
    "gs": {"service_account": "GOOGLE_APPLICATION_CREDENTIALS", "anonymous": "GS_NO_SIGN_REQUEST"},
    "az": {
        "account_name": "AZURE_STORAGE_ACCOUNT",
        "account_key": "AZURE_STORAGE_ACCESS_KEY",
        "sas_key": "AZURE_STORAGE_SAS_TOKEN",
        "anonymous": "AZURE_NO_SIGN_REQUEST",
    },
}
