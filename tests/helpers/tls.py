"""Certificates of a cluster, and an authority that signed none of them: no tests here."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True)
class Certificates:
    """Files of an authority and of one certificate that it signed, for every role."""

    ca: Path
    cert: Path
    key: Path

    @classmethod
    def make(cls, folder: Path, addresses: tuple[str, ...] = ("127.0.0.1",), hours: float = 24) -> Certificates:
        folder.mkdir(parents=True, exist_ok=True)
        ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        ca = _certificate("landweave test CA", None, ca_key, ca_key, ())
        cert = _certificate("landweave test", ca, ca_key, key, addresses, hours)
        found = cls(ca=folder / "ca.pem", cert=folder / "cert.pem", key=folder / "key.pem")
        found.ca.write_bytes(ca.public_bytes(serialization.Encoding.PEM))
        found.cert.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
        plain = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        found.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, *plain))
        return found

    @property
    def section(self) -> dict[str, str]:
        """As ``engine.security`` names them."""
        return {"ca": str(self.ca), "cert": str(self.cert), "key": str(self.key)}

    @property
    def options(self) -> tuple[str, ...]:
        """As Dask's commands take them."""
        return ("--tls-ca-file", str(self.ca), "--tls-cert", str(self.cert), "--tls-key", str(self.key))


def _certificate(name, issuer, issuer_key, key, addresses, hours=24):
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=hours))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
