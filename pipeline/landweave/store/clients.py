"""Clients of object stores: credentials, time-outs, and the one retry loop of all requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlsplit

from obstore import exceptions
from obstore.store import LocalStore, from_url

from landweave.core.errors import ConfigError
from landweave.core.retry import Retry
from landweave.store.credentials import Options, credential_provider, stated_options

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

_OF_PROVIDER = {"access_key_id", "secret_access_key", "sas_key"}
"""Options in whose place a provider of credentials stands."""

_OF_CLIENT = re.compile(
    r"(?:aws_|google_|azure_)?((?:allow_|http1_|http2_|pool_|proxy_)\w+|(?:connect_|read_)?timeout|default_content_type"
    r"|randomize_addresses|user_agent)",
    re.IGNORECASE,
)
"""Options of the connection, which obstore takes apart from those of the store; among these they make it panic."""

_OF_BUCKET = re.compile(r"(?:aws_|google_|azure_)?(?:bucket|container)(?:_name)?", re.IGNORECASE)
"""Options that name the bucket again: of two that differ obstore would take this one, not that of the URL."""


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
    options = stated_options(location, storage_options)
    for name in filter(_OF_BUCKET.fullmatch, options):
        if options[name] != urlsplit(location).netloc:
            raise ConfigError(f"{location} names its bucket, and the option {name} another one: leave {name} out.")
    settings: dict[str, Any] = {}
    if provider := credential_provider(location, options):
        settings["credential_provider"] = provider
        options = {name: value for name, value in options.items() if name not in _OF_PROVIDER}
    options.pop("profile", None)
    if "anonymous" in options:
        options["skip_signature"] = options.pop("anonymous")
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
