"""What options, environment and profiles say of an object store: one answer, for its client as for GDAL."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from importlib import import_module
from typing import Any

from landweave.core.errors import ConfigError

Options = tuple[tuple[str, Any], ...]

Provider = Callable[[], dict[str, Any]]
"""Gives the credentials that count now, and when they expire."""

_PREFIXES = {"s3": ("aws_",), "gs": ("google_",), "az": ("azure_storage_", "azure_")}
_ALIASES = {
    "s3": {"endpoint_url": "endpoint", "endpoint_url_s3": "endpoint", "session_token": "token"},
    "az": {"access_key": "account_key", "master_key": "account_key", "sas_token": "sas_key", "bearer_token": "token"},
}
_KNOWN = {
    "anonymous", "profile", "endpoint", "region", "virtual_hosted_style_request", "access_key_id", "secret_access_key",
    "token", "account_name", "account_key", "sas_key",
}  # fmt: skip
"""Names under which options are looked at here; others are the client's own matter."""

_ENVIRONMENT: dict[str, dict[str, tuple[str, ...]]] = {
    "s3": {
        "endpoint": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
        "region": ("AWS_REGION", "AWS_DEFAULT_REGION"),
        "virtual_hosted_style_request": ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST",),
    },
    "az": {
        "endpoint": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
        "account_name": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT"),
        "account_key": ("AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY", "AZURE_STORAGE_KEY"),
        "sas_key": ("AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_SAS_TOKEN"),
    },
}
"""Variables by option: tools of these stores call them by several names."""

_OF_AZURE_KEYS = {"account_key", "sas_key"}
_SIGNED = {
    *("anonymous", "account_key", "sas_key", "token", "client_id", "client_secret", "tenant_id"),
    *("federated_token_file", "use_azure_cli"),
}
"""Options that say how requests to Azure are signed: no key of the environment counts beside them."""

_SIGNED_BY = {"aws_access_key_id", "role_arn", "credential_process", "sso_session", "sso_start_url"}
"""Settings of a profile that has credentials."""

_STATIC = timedelta(minutes=30)
"""How long credentials of a profile without a time of expiry are kept before the profile is read again."""


def stated_options(location: str, storage_options: Options) -> dict[str, Any]:
    """The options of a store by one name each, with what the environment, and for S3 the profile, say of the rest.

    Parameters
    ----------
    location
        URL.
    storage_options
        As of `landweave.store.objects.Target`; they count before all others.

    Raises
    ------
    ConfigError
        When one is given under two names, or the endpoint is no address.
    """
    scheme, options = location.partition("://")[0], dict[str, Any]()
    for name, value in storage_options:
        own = own_name(scheme, name)
        known = own if own in _KNOWN else name
        if known in options:
            raise ConfigError(f"{location}: the option {known} is given twice, once as {name}.")
        options[known] = is_true(value) if known == "anonymous" else value
    found = {**_of_environment(scheme, options), **options}
    if "endpoint" in found and not str(found["endpoint"]).startswith(("http://", "https://")):
        raise ConfigError(f"The endpoint of {location} is no address: it begins with http:// or https://.")
    return found


def own_name(scheme: str, option: str) -> str:
    """The name of an option without what says of which store it is, and one of those that it goes by.

    >>> own_name("az", "AZURE_STORAGE_SAS_TOKEN"), own_name("s3", "aws_endpoint_url"), own_name("s3", "skip_signature")
    ('sas_key', 'endpoint', 'anonymous')
    """
    own = option.lower()
    prefix = next(filter(own.startswith, _PREFIXES.get(scheme, ())), "")
    own = own.removeprefix(prefix)
    return "anonymous" if own == "skip_signature" else _ALIASES.get(scheme, {}).get(own, own)


def is_true(value: Any) -> bool:
    """Whether an option or a variable says yes."""
    return str(value).strip().lower() in ("true", "1", "yes", "on")


def _of_environment(scheme: str, options: Mapping[str, Any]) -> dict[str, Any]:
    signed = {own_name(scheme, name) for name in options} & _SIGNED
    found: dict[str, Any] = {}
    for name, variables in _ENVIRONMENT.get(scheme, {}).items():
        value = next(filter(None, map(os.environ.get, variables)), None)
        if value and name not in options and not (signed and name in _OF_AZURE_KEYS):
            found[name] = value
    if scheme == "s3":
        profile = str(options.get("profile") or _profile_of_environment() or "default")
        of_profile = dict(_profile_settings(profile, *_profile_files()))
        if is_true(os.environ.get("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")):
            of_profile.pop("endpoint_url", None)
        settings = {"endpoint": "endpoint_url", "region": "region"}
        found = {**{ours: of_profile[theirs] for ours, theirs in settings.items() if theirs in of_profile}, **found}
    return found


def credential_provider(location: str, options: Mapping[str, Any]) -> Provider | None:
    """Who gives the credentials of a store; None where its client finds them in its options or the environment.

    Parameters
    ----------
    location
        URL.
    options
        Of `stated_options`.

    Raises
    ------
    ConfigError
        When a profile is asked for and has none.
    """
    scheme, name = location.partition("://")[0], options.get("profile")
    if scheme == "az" and "sas_key" in options and os.environ.keys() & {*_ENVIRONMENT["az"]["account_key"]}:
        return lambda: {"sas_token": str(options["sas_key"]), "expires_at": None}  # the client would sign with that key
    if scheme != "s3" or options.get("anonymous"):
        return None
    if "access_key_id" in options:
        return _given_keys(options) if "token" not in options and os.environ.get("AWS_SESSION_TOKEN") else None
    if name is None and ("token" in options or _is_signed_by_environment()):
        return None
    name = name or _profile_of_environment()
    if name is None and not os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE"):  # whose role counts before files of keys
        name = "default" if _profile_settings("default", *_profile_files()).keys() & _SIGNED_BY else None
    return _profile_credentials(str(name), *_profile_files()) if name else None


def _given_keys(options: Mapping[str, Any]) -> Provider:
    """Keys of the options alone: the client would add the session of the environment, which is of other keys."""
    keys = {name: str(options.get(name, "")) for name in ("access_key_id", "secret_access_key")}
    return lambda: {**keys, "expires_at": None}


def _is_signed_by_environment() -> bool:
    return bool(os.environ.get("AWS_ACCESS_KEY_ID")) or is_true(os.environ.get("AWS_SKIP_SIGNATURE"))


def _profile_of_environment() -> str | None:
    return os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or None


def _profile_files() -> tuple[str | None, ...]:
    return tuple(map(os.environ.get, ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")))


@lru_cache(maxsize=8)
def _profile_settings(profile: str, *_files: str | None) -> Mapping[str, str]:
    """What the files of profiles say of one, its endpoint of S3 among it; empty where they say nothing that is read."""
    try:
        exceptions_of, session_of = (import_module(f"botocore.{name}") for name in ("exceptions", "session"))
    except ImportError:
        return {}
    try:
        every = session_of.Session().full_config
    except exceptions_of.BotoCoreError:  # which is an error where credentials are taken from it
        return {}
    found = dict(every.get("profiles", {}).get(profile, {}))
    of_s3 = every.get("services", {}).get(found.get("services"), {}).get("s3", {})
    return {**found, **(of_s3 if isinstance(of_s3, dict) else {})}


@lru_cache(maxsize=8)
def _profile_credentials(profile: str, *_files: str | None) -> ProfileCredentials:
    """One for all clients: a role is taken, or a program run, once."""
    return ProfileCredentials(profile)


class ProfileCredentials:
    """Credentials of an AWS profile: keys, a role, single sign-on or a program; renewed before they expire.

    Parameters
    ----------
    profile
        Its name, as in ``~/.aws/config``.

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
