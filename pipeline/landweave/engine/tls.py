"""Connects to a scheduler, with TLS where its address says so, and says at once why that fails.

Dask itself tries a connection that is refused again and again for half a minute, and then says that it timed out; where
something else listens, it waits forever. So the greeting is tried alone first: a certificate that is refused on either
side is named with the reason.
"""

from __future__ import annotations

import socket
import ssl
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
        When the certificates of a ``tls://`` address are missing or are none, or certificates go with another address.
    EngineError
        When no scheduler answers, or one side refuses the other's certificate.
    """
    security = _security(files)
    encrypted = address.startswith("tls://")
    if files and not encrypted:
        raise ConfigError(f"engine.security is for an address with TLS, and this is {address}: write tls://host:port.")
    if address.startswith(("tcp://", "tls://")):
        _try_greeting(address, _context(address, security) if encrypted else None)
    try:
        return Client(address, security=security if encrypted else None, set_as_default=False)
    except (OSError, TimeoutError, ValueError, TypeError) as error:
        hint = "" if encrypted else " A scheduler with TLS has a tls:// address."
        raise EngineError(
            f"No Dask scheduler answers at {address}: {error}. Start one, or correct it.{hint}"
        ) from error


def _security(files: tuple[str, str, str] | None) -> Security:
    if files is None:
        return Security()
    for key, path in zip(("ca", "cert", "key"), files, strict=True):
        try:
            with Path(path).open("rb"):
                pass
        except OSError as error:
            raise ConfigError(f"engine.security.{key}: {path} cannot be read: {error.strerror or error}.") from error
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
            f"has a certificate that is not of the CA that is named here (engine.security.ca): {error.verify_message}."
        )
    except ssl.SSLError as error:
        why = (
            f"refuses this client: {error.reason or error}. Its certificate (engine.security.cert) has to be of the "
            f"scheduler's CA. {_HINT}"
        )
    except OSError as error:
        why = f"says nothing that a Dask scheduler says: {error}. {_HINT}"
    raise EngineError(f"Whoever listens at {address} {why}")
