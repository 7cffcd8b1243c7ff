"""Connects to a scheduler, with TLS where its address says so, and says at once why that fails.

Dask itself tries a connection that is refused again and again for half a minute, and then says that it timed out. So
the handshake is tried alone first: a certificate that is refused on either side is named with the reason.
"""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from urllib.parse import urlsplit

from distributed import Client
from distributed.security import Security

from landweave.core.errors import ConfigError, EngineError

HANDSHAKE_SECONDS = 10.0

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
    if encrypted:
        _try_handshake(address, _context(address, security))
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


def _try_handshake(address: str, context: ssl.SSLContext) -> None:
    parts = urlsplit(address)
    try:
        with (
            socket.create_connection((parts.hostname or "", parts.port or 8786), HANDSHAKE_SECONDS) as plain,
            context.wrap_socket(plain, server_hostname=parts.hostname) as encrypted,
        ):
            # With TLS 1.3 a certificate is refused after the handshake: the scheduler greets who it lets in.
            if not encrypted.recv(1):
                raise EngineError(f"The scheduler at {address} closes the connection: is its certificate of this CA?")
    except ssl.SSLCertVerificationError as error:
        raise EngineError(
            f"The certificate of the scheduler at {address} is not of the CA that is named here: "
            f"{error.verify_message}. See engine.security.ca."
        ) from error
    except ssl.SSLError as error:
        raise EngineError(
            f"The scheduler at {address} refuses this client: {error.reason or error}. Its certificate "
            "(engine.security.cert) has to be of the scheduler's CA; a scheduler without TLS has a tcp:// address."
        ) from error
    except OSError:
        return  # it may be about to start: Dask waits for it
