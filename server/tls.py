"""The server's own certificate authority: made at first run, kept with the data, trusted once per phone.

Browsers give a page the camera only in a secure context, and a server in a living room has no public name. So the
server signs its own certificate for localhost, the host's name and every address it has, and signs it again when these
change or when it is about to expire. Phones trust `/ca` once (or click the warning away).
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import ssl
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from pydantic import BaseModel, ConfigDict

from server.files import write_private

log = logging.getLogger(__name__)

CA_DAYS = 3650
LEAF_DAYS = 397
"""iOS refuses certificates that live longer than 825 days, and public ones than 398."""
RENEW_DAYS = 30


class Config(BaseModel):
    """Where the certificate comes from; without `cert` and `key`, from our own authority."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Off only behind a proxy that speaks TLS, or for tests: phones give no camera to plain HTTP."""
    cert: Path | None = None
    key: Path | None = None
    names: tuple[str, ...] = ()
    """More host names or addresses that people will type."""


class Authority:
    """Our own CA and the server certificate it signs, in one folder; keys are readable by the owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca_path = folder / "ca.pem"
        self.cert_path = folder / "server.pem"
        self.key_path = folder / "server.key"

    def ensure(self, names: Iterable[str], now: datetime) -> bool:
        """Make what is missing, out of date or for other names; True when the server certificate is new."""
        wanted = sorted(set(names))
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        ca, ca_key, ca_is_new = self._authority(now)
        if not ca_is_new and self._is_good(wanted, ca, now):
            return False
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _leaf(wanted, key, ca, ca_key, now)
        write_private(self.key_path, _key_bytes(key))
        pem = serialization.Encoding.PEM
        write_private(self.cert_path, certificate.public_bytes(pem) + ca.public_bytes(pem), mode=0o644)
        log.info("server certificate issued", extra={"names": wanted})
        return True

    def _authority(self, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey, bool]:
        key_path = self._folder / "ca.key"
        try:
            ca = x509.load_pem_x509_certificate(self.ca_path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
            if isinstance(key, ec.EllipticCurvePrivateKey) and ca.not_valid_after_utc > now + timedelta(LEAF_DAYS):
                return ca, key, False
        except (OSError, ValueError):
            pass  # first run, or the files are damaged: a new authority is the only way on
        key = ec.generate_private_key(ec.SECP256R1())
        ca = _root(key, now)
        write_private(key_path, _key_bytes(key))
        write_private(self.ca_path, ca.public_bytes(serialization.Encoding.PEM), mode=0o644)
        log.info("certificate authority made", extra={"path": str(self.ca_path)})
        return ca, key, True

    def _is_good(self, names: list[str], ca: x509.Certificate, now: datetime) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate(self.cert_path.read_bytes())
            certificate.verify_directly_issued_by(ca)
            serialization.load_pem_private_key(self.key_path.read_bytes(), None)
        except (OSError, ValueError, TypeError, InvalidSignature):
            return False
        fresh = certificate.not_valid_after_utc > now + timedelta(RENEW_DAYS)
        return fresh and set(names) <= set(_names_of(certificate))


def local_names(extra: Iterable[str] = ()) -> list[str]:
    """localhost, the host's name (with and without `.local`) and every address of this machine."""
    host = socket.gethostname()
    names = {"localhost", "127.0.0.1", "::1", host, f"{host.split('.')[0]}.local", *local_addresses(), *extra}
    return sorted(name for name in names if name)


def local_addresses() -> list[str]:
    """Addresses by which others on the network reach this machine, the default route's first."""
    found: dict[str, None] = {}
    for family, probe in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            try:
                udp.connect((probe, 9))  # documentation addresses: picks a route, sends nothing
                found[udp.getsockname()[0]] = None
            except OSError:
                continue
    try:
        infos = socket.getaddrinfo(socket.gethostname(), None)
    except OSError:
        infos = []
    for info in infos:
        found[str(info[4][0]).split("%")[0]] = None
    return [a for a in found if not ipaddress.ip_address(a).is_loopback and not ipaddress.ip_address(a).is_link_local]


def server_context(cert: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 and newer.

    Raises:
        OSError: the files cannot be read or are no certificate and key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(cert, key)
    return context


def _root(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Commonground on {socket.gethostname()}"[:64])])
    usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    return (
        _builder(name, name, key, now, CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _leaf(
    names: list[str],
    key: ec.EllipticCurvePrivateKey,
    ca: x509.Certificate,
    ca_key: ec.EllipticCurvePrivateKey,
    now: datetime,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Commonground server")])
    usage = x509.KeyUsage(True, False, False, False, False, False, False, False, False)
    return (
        _builder(subject, ca.subject, key, now, LEAF_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    """A day of grace backwards: phones' clocks differ."""
    return x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), now - timedelta(1), now + timedelta(days)
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _names_of(certificate: x509.Certificate) -> list[str]:
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
