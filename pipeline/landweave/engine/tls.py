"""Connects to a scheduler, with TLS where its address says so, and says at once why that fails.

Dask itself tries a connection that is refused again and again for half a minute, and then says that it timed out; where
something else listens, it waits forever. So the greeting is tried alone first: a certificate that is refused on either
side is named with the reason.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import dask
from dask.utils import parse_timedelta
from distributed import Client
from distributed.security import Security

from landweave.core.errors import ConfigError, EngineError

_HINT = "A scheduler with TLS has a tls:// address, one without a tcp:// address."

WAYS = (
    "set engine.security: {ca: ca.pem, cert: client.pem, key: client.key}, or Dask's own "
    "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__CLIENT__CERT and …__CLIENT__KEY"
)


def connect(address: str, files: tuple[str, str, str] | None = None) -> Client:
    """A client of the scheduler at ``address``.

    Parameters
    ----------
    address
        ``tcp://host:8786`` or ``tls://host:8786``.
    files
        Of the authority, of the certificate and of its key; None for those of Dask's configuration.

    Raises
    ------
    ConfigError
        When this is no address, the certificates of a ``tls://`` address are missing or are none, or certificates go
        with another address.
    EngineError
        When no scheduler answers, or one side refuses the other's certificate.
    """
    _require_address(address)
    security = _security(files)
    encrypted = address.startswith("tls://")
    if files and not encrypted:
        raise ConfigError(f"engine.security is for an address with TLS, and this is {address}: write tls://host:port.")
    context = _context(address, security) if encrypted else None
    if address.startswith(("tcp://", "tls://")):
        _try_greeting(address, context)
    try:
        return Client(address, security=security if encrypted else None, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        if encrypted:
            _try_greeting(address, context)  # it may have started since, and says more than Dask does
        hint = "" if encrypted else " A scheduler with TLS has a tls:// address."
        raise EngineError(
            f"No Dask scheduler answers at {address}: {error}. Start one, or correct it.{hint}"
        ) from error


def check_worker_address(address: str, files: Mapping[str, str], options: Sequence[str] = ()) -> None:
    """Refuse what no worker can connect to.

    Parameters
    ----------
    address
        Of the scheduler.
    files
        Certificates, by ``ca``, ``cert`` and ``key``.
    options
        Further ones of the worker.

    Raises
    ------
    ConfigError
        When this is no address, or one with TLS and certificates are missing.
    """
    _require_address(address)
    for path in files.values():
        _try_file(path, "The worker's certificates:")
    stated = files or dask.config.get("distributed.comm.tls.ca-file") or any("--tls" in each for each in options)
    if address.startswith("tls://") and not stated:
        raise ConfigError(
            f"{address} needs certificates: give --tls-ca-file, --tls-cert and --tls-key, or set Dask's own "
            "DASK_DISTRIBUTED__COMM__TLS__CA_FILE, …__WORKER__CERT and …__WORKER__KEY."
        )


def _require_address(address: str) -> None:
    if not re.fullmatch(r"inproc://.*|((tcp|tls|ws|wss|ucx)://)?[^/]+:\d{1,5}", address):
        raise ConfigError(f"{address} is no address of a scheduler: write it as tcp://host:8786, or tls://host:8786.")


def _try_file(path: str, what: str) -> None:
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        raise ConfigError(f"{what} {path} cannot be read: {error.strerror or error}.") from error


def _security(files: tuple[str, str, str] | None) -> Security:
    if files is None:
        return Security()
    for key, path in zip(("ca", "cert", "key"), files, strict=True):
        _try_file(path, f"engine.security.{key}:")
    ca, cert, key = files
    return Security(require_encryption=True, tls_ca_file=ca, tls_client_cert=cert, tls_client_key=key)


def _context(address: str, security: Security) -> ssl.SSLContext:
    """Of a client, as Dask makes it."""
    try:
        context: ssl.SSLContext | None = security.get_connection_args("client").get("ssl_context")
    except (OSError, ValueError) as error:  # ssl.SSLError is the first
        raise ConfigError(
            f"{address} needs certificates, and these cannot be used: {error}. Otherwise {WAYS}."
        ) from error
    if context is None:
        raise ConfigError(f"{address} needs certificates, and none are named: {WAYS}.")
    return context


def _try_greeting(address: str, context: ssl.SSLContext | None) -> None:
    """Wait for the first byte that a scheduler sends to whom it lets in; nothing where nobody listens yet."""
    parts, seconds = urlsplit(address), parse_timedelta(dask.config.get("distributed.comm.timeouts.connect"))
    try:
        connected = socket.create_connection((parts.hostname or "", parts.port or 8786), seconds)
    except OSError:
        return  # it may be about to start: Dask waits for it
    try:
        with connected as plain, ExitStack() as stack:
            # With TLS 1.3 a certificate is refused after the handshake.
            name = parts.hostname
            reader = stack.enter_context(context.wrap_socket(plain, server_hostname=name)) if context else plain
            if reader.recv(1):
                return
            why = f"closes the connection. {_HINT}"
    except ssl.SSLCertVerificationError as error:
        why = (
            f"has a certificate that is refused here: {error.verify_message}. It has to be of the CA that is named "
            "here (engine.security.ca), and within its time."
        )
    except ssl.SSLError as error:
        why = (
            f"refuses this client: {error.reason or error}. Its certificate (engine.security.cert) has to be of the "
            f"scheduler's CA, and within its time. {_HINT}"
        )
    except OSError as error:
        why = f"says nothing that a Dask scheduler says: {error}. {_HINT}"
    raise EngineError(f"Whoever listens at {address} {why}")
