"""Clients of object stores: credentials, time-outs, and the one retry loop of all requests."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any
from urllib.parse import quote, urlsplit

from obstore import exceptions
from obstore.store import LocalStore, from_url

from landweave.core.errors import ConfigError
from landweave.core.retry import Retry

_TRANSIENT = (exceptions.GenericError, exceptions.JoinError, TimeoutError, ConnectionError)

_LASTING = re.compile(r"LocalFileSystem|status:? 4(?!08|29)\d\d")
"""In the text of an error: a disk that is full stays full, and a request that is wrong stays wrong."""

PAUSES_S = (0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0, 10.0)
"""Eleven attempts in half a minute to a minute: a server may start anew, and one request in five may fail."""


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, _TRANSIENT) and not _LASTING.search(str(error))


RETRY = Retry(pauses_s=PAUSES_S, is_transient=_may_pass, budget_s=120.0)
"""Of one request to any object store: dropped connections, time-outs, cut and late responses, and those of 5xx."""

SILENT_S = 30
"""Seconds without a byte of a response after which a request is tried again."""

_LONGEST_S = 300
_SLOWEST = 2**19
"""Bytes a second of an upload; below that it is given up."""

_STATIC = timedelta(minutes=30)
"""How long credentials of a profile without a time of expiry are kept before the profile is read again."""

_OF_CLIENT = re.compile(
    r"(?:aws_|google_|azure_)?((?:allow_|http1_|http2_|pool_|proxy_)\w+|(?:connect_|read_)?timeout|default_content_type"
    r"|randomize_addresses|user_agent)",
    re.IGNORECASE,
)
"""Options of the connection, which obstore takes apart from those of the store; among these they make it panic."""

_OF_BUCKET = re.compile(r"(?:aws_|google_|azure_)?(?:bucket|container)(?:_name)?", re.IGNORECASE)
"""Options that name the bucket again: of two that differ obstore would take this one, not that of the URL."""

Options = tuple[tuple[str, Any], ...]


def upload_seconds(size: int) -> int:
    """Time-out of an upload of ``size`` bytes: one of few numbers, as each has a client of its own.

    >>> upload_seconds(1000), upload_seconds(100 * 2**20), upload_seconds(4 * 2**30)
    (30, 240, 15360)
    """
    seconds = SILENT_S
    while seconds * _SLOWEST < size:
        seconds *= 2
    return seconds


@lru_cache(maxsize=128)
def open_client(location: str, storage_options: Options, upload_s: int = 0) -> Any:
    """The obstore client of a folder or a prefix, one a process; its own retries are off.

    Parameters
    ----------
    location
        Absolute path, or a URL.
    storage_options
        As of `landweave.store.objects.Target`.
    upload_s
        Time-out of an upload; 0 for all other requests, whose responses are watched instead.

    Raises
    ------
    ConfigError
        When the options or the credentials cannot be used.
    """
    if "://" not in location:
        return LocalStore(location, mkdir=True)
    options = _with_environment(location, dict(storage_options))
    for name in filter(_OF_BUCKET.fullmatch, options):
        if options[name] != urlsplit(location).netloc:
            raise ConfigError(f"{location} names its bucket, and the option {name} another one: leave {name} out.")
    if "anonymous" in options:
        options["skip_signature"] = options.pop("anonymous")
    settings: dict[str, Any] = {}
    if provider := _profile(location, options):
        given_names = {_own_name(location, name) for name in options}
        of_profile = {name: value for name, value in provider.config.items() if name not in given_names}
        options = {**of_profile, **{name: value for name, value in options.items() if name != "profile"}}
        settings["credential_provider"] = provider
    times = {"timeout": f"{upload_s}s"} if upload_s else {"timeout": f"{_LONGEST_S}s", "read_timeout": f"{SILENT_S}s"}
    of_client = {name: found[1].lower() for name in options if (found := _OF_CLIENT.fullmatch(name))}
    given = {own: _client_value(own, options.pop(name)) for name, own in of_client.items()}
    client: Any = {"connect_timeout": "10s", "allow_http": _is_plain(options), **times, **given}
    try:
        no_retries: Any = {"max_retries": 0}
        config: Any = {name: value if isinstance(value, bool) else str(value) for name, value in options.items()}
        # Names of objects stand for themselves, as in every tool of these stores: in a URL "#" and "%20" would not.
        address = quote(location, safe=":/")
        return from_url(address, config=config or None, client_options=client, retry_config=no_retries, **settings)
    except (exceptions.BaseError, ValueError, TypeError) as error:
        names = ", ".join(sorted(dict(storage_options))) or "none"
        reason = _without_values(str(error), storage_options).strip().splitlines()[0]
        raise ConfigError(f"Cannot use {location} (options given: {names}): {reason}") from error


def _with_environment(location: str, options: dict[str, Any]) -> dict[str, Any]:
    """Options with the endpoint of the environment, and the account of Azure: tools call them by several names."""
    known = _ENVIRONMENT.get(location.partition("://")[0], {})
    given = {_own_name(location, name) for name in options}
    asked = [name for name in known if name in ("endpoint", "account_name") or not given & _AZURE_SIGNED]
    found = {name: map(os.environ.get, known[name]) for name in asked if name not in given}
    named = {name: value for name, values in found.items() if (value := next(filter(None, values), None))}
    if location.startswith("s3://") and not {*named, *given} & {"endpoint"}:
        profile = str(options.get("profile") or _profile_of_environment() or "default")
        if endpoint := _profile_settings(profile, *map(os.environ.get, _FILES_OF_PROFILES)).get("endpoint_url"):
            named["endpoint"] = endpoint
    return {**named, **options}


def _own_name(location: str, option: str) -> str:
    """The name of an option without what says of which store it is, and one of those that an endpoint has."""
    own = option.lower().removeprefix(_PREFIXES.get(location.partition("://")[0], ""))
    return "endpoint" if own in ("endpoint_url", "endpoint_url_s3") else own


def _client_value(name: str, value: Any) -> str | bool:
    """An option of the connection as obstore takes it: a number of seconds is a text that says so."""
    if isinstance(value, bool):
        return value
    return f"{value}s" if name.endswith("timeout") and re.fullmatch(r"\d+(\.\d+)?", str(value)) else str(value)


def _without_values(reason: str, storage_options: Options) -> str:
    """What a library says of options, without their values: a secret may be in the place of another."""
    for value in (str(value) for _, value in storage_options):
        for form in (value, json.dumps(value, ensure_ascii=False)[1:-1]):
            reason = reason.replace(form, "…") if len(form) > 3 else reason
    return reason


def _is_plain(options: Mapping[str, Any]) -> bool:
    """Whether an endpoint without encryption is stated, as servers of one's own machine or network have."""
    return any("http://" in str(value) for value in options.values())


def _profile(location: str, options: Mapping[str, Any]) -> ProfileCredentials | None:
    """Credentials of a profile where one is named, in the options or the environment, and nothing more direct is."""
    if not location.startswith("s3://"):
        return None
    if "profile" in options:
        return ProfileCredentials(str(options["profile"]))
    if {"access_key_id", "skip_signature", "token"} & {_own_name(location, name) for name in options}:
        return None
    if os.environ.keys() & {"AWS_ACCESS_KEY_ID", "AWS_SKIP_SIGNATURE"}:
        return None
    if name := _profile_of_environment():
        return ProfileCredentials(name)
    found = _profile_settings("default", *map(os.environ.get, _FILES_OF_PROFILES))
    return ProfileCredentials("default") if found.keys() & _SIGNED_BY else None


def _profile_of_environment() -> str | None:
    return os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE")


@lru_cache(maxsize=8)
def _profile_settings(profile: str, *_files: str | None) -> dict[str, str]:
    """What the files of profiles say of one, its endpoint of S3 among it; empty where they say nothing."""
    try:
        exceptions_of, session_of = (import_module(f"botocore.{name}") for name in ("exceptions", "session"))
    except ImportError:
        return {}
    try:
        every = session_of.Session().full_config
    except exceptions_of.BotoCoreError as error:
        raise ConfigError(f"The credentials of profile {profile!r} cannot be read: {error}") from error
    found = dict(every.get("profiles", {}).get(profile, {}))
    of_s3 = every.get("services", {}).get(found.get("services"), {}).get("s3", {})
    return {**found, **(of_s3 if isinstance(of_s3, dict) else {})}


class ProfileCredentials:
    """Credentials of an AWS profile: keys, a role, single sign-on or a program; renewed before they expire.

    Parameters
    ----------
    profile
        Its name, as in ``~/.aws/config``.

    Attributes
    ----------
    config
        What the profile says beside its credentials: the region, where the environment says none.

    Raises
    ------
    ConfigError
        When there is no such profile, it has no credentials, or botocore is not installed.
    """

    def __init__(self, profile: str) -> None:
        try:
            exceptions_of, session_of = (import_module(f"botocore.{name}") for name in ("exceptions", "session"))
        except ImportError as error:
            raise ConfigError(f"Profile {profile!r} needs botocore: pip install 'landweave[aws]'.") from error
        session = session_of.Session(profile=profile)
        try:
            self._credentials: Any = session.get_credentials()
        except (exceptions_of.BotoCoreError, OSError, ValueError) as error:  # of a program that is missing, or ill
            raise ConfigError(f"The credentials of profile {profile!r} cannot be read: {error}") from error
        if self._credentials is None:
            raise ConfigError(f"Profile {profile!r} has no credentials.")
        region = session.get_scoped_config().get("region")
        is_stated = os.environ.keys() & {"AWS_REGION", "AWS_DEFAULT_REGION"}
        self.config = {"region": region} if region and not is_stated else {}

    def __call__(self) -> dict[str, Any]:
        """The credentials that count now, and when they expire."""
        frozen = self._credentials.get_frozen_credentials()
        expires = getattr(self._credentials, "_expiry_time", None)
        return {
            "access_key_id": frozen.access_key,
            "secret_access_key": frozen.secret_key,
            "token": frozen.token,
            "expires_at": expires.astimezone(UTC) if expires else datetime.now(UTC) + _STATIC,
        }


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
    options = dict(storage_options)
    if scheme != "s3" or "AWS_S3_ENDPOINT" not in os.environ:  # which GDAL takes by itself
        options = _with_environment(location, options)
    given = {_own_name(location, name): value for name, value in options.items()}
    named: dict[str, str] = {}
    for name, value in given.items():
        if name == "endpoint" and scheme == "s3":
            address = str(value)
            named["AWS_HTTPS"] = "NO" if address.startswith("http://") else "YES"
            is_virtual = str(given.get("virtual_hosted_style_request")).lower() == "true"
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
    return named


def _connection(endpoint: str, given: Mapping[str, Any]) -> str:
    """The connection string of an Azure account at an endpoint of its own: GDAL takes that in no other form."""
    names = {"account_name": "AccountName", "account_key": "AccountKey", "access_key": "AccountKey"}
    names["sas_key"] = "SharedAccessSignature"
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


_ENVIRONMENT: dict[str, dict[str, tuple[str, ...]]] = {
    "s3": {"endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")},
    "az": {
        "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"),
        "sas_key": ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    },
}
_FILES_OF_PROFILES = ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")
_SIGNED_BY = {"aws_access_key_id", "role_arn", "credential_process", "sso_session", "sso_start_url"}
"""Settings of a profile that has credentials."""

_AZURE_SIGNED = {"account_key", "access_key", "sas_key", "token", "bearer_token", "client_id", "use_azure_cli"}
_AZURE_SIGNED |= {"anonymous", "skip_signature"}
"""Options that say how requests are signed: nothing of the environment beside them."""

_PREFIXES = {"s3": "aws_", "gs": "google_", "az": "azure_storage_"}
_OF_GDAL: dict[str, dict[str, str]] = {
    "s3": {
        "access_key_id": "AWS_ACCESS_KEY_ID",
        "secret_access_key": "AWS_SECRET_ACCESS_KEY",
        "token": "AWS_SESSION_TOKEN",
        "session_token": "AWS_SESSION_TOKEN",
        "region": "AWS_REGION",
        "anonymous": "AWS_NO_SIGN_REQUEST",
        "skip_signature": "AWS_NO_SIGN_REQUEST",
        "profile": "AWS_PROFILE",
        "request_payer": "AWS_REQUEST_PAYER",
    },
    "gs": {"service_account": "GOOGLE_APPLICATION_CREDENTIALS", "anonymous": "GS_NO_SIGN_REQUEST"},
    "az": {
        "account_name": "AZURE_STORAGE_ACCOUNT",
        "account_key": "AZURE_STORAGE_ACCESS_KEY",
        "access_key": "AZURE_STORAGE_ACCESS_KEY",
        "sas_key": "AZURE_STORAGE_SAS_TOKEN",
        "anonymous": "AZURE_NO_SIGN_REQUEST",
    },
}
