"""Is this machine fit to serve? Each finding says OK, or what to do."""

from __future__ import annotations

import importlib
import shutil
import socket
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from mapping import engines
from server.api.pages import default_folder, is_built
from server.config import Settings
from server.datadir import DataDirBusy, locked
from server.devices import choose_devices, choose_engine, gpus
from server.tls import local_addresses
from server.web import identify

MIN_FREE_BYTES = 2 << 30
UDP_TIMEOUT_S = 1.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor."""

    subject: str
    is_ok: bool
    detail: str


def examine(settings: Settings) -> Iterator[Finding]:
    """Check everything that a server needs, in the order in which it would need it."""
    yield _data(settings)
    yield _certificate(settings)
    yield _port(settings)
    yield _udp()
    yield _gpu()
    yield _engine(settings)
    yield _recast()
    yield _video()
    yield _pages(settings)


def _data(settings: Settings) -> Finding:
    folder = settings.data_dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("data", False, f"{folder} cannot be used ({error.strerror}); set data_dir")
    if free < MIN_FREE_BYTES:
        return Finding("data", False, f"{folder} has {free / 1e9:.1f} GB left; free some, or set data_dir")
    return Finding("data", True, f"{folder.resolve()}, {free / 1e9:.0f} GB free")


def _certificate(settings: Settings) -> Finding:
    try:
        identity = identify(settings)
    except (OSError, ValueError) as error:
        return Finding("TLS", False, str(error))
    if identity.cert is None or identity.key is None:
        return Finding("TLS", False, "off: phones give no camera to plain HTTP; set tls.enabled, unless a proxy has it")
    try:
        certificate = x509.load_pem_x509_certificate(identity.cert.read_bytes())
        mode = stat.S_IMODE(identity.key.stat().st_mode)
    except (OSError, ValueError) as error:
        return Finding("TLS", False, f"{identity.cert} cannot be read: {error}")
    days = (certificate.not_valid_after_utc - datetime.now(UTC)).days
    if days < 0:
        return Finding("TLS", False, f"{identity.cert} has expired; renew it")
    if mode & 0o077:
        return Finding("TLS", False, f"{identity.key} can be read by others; chmod 600 it")
    source = "own authority" if identity.authority is not None else str(identity.cert)
    return Finding("TLS", True, f"{source}, {days} days left, for {', '.join(identity.names)}")


def _port(settings: Settings) -> Finding:
    host, port = settings.http.host, settings.http.port
    try:
        with locked(settings.data_dir):
            pass
    except DataDirBusy as busy:
        return Finding("port", True, f"a server runs at {busy.url or 'an unknown address'}")
    except OSError as error:
        return Finding("port", False, f"{settings.data_dir}: {error.strerror}")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        socket.create_server((host, port), family=family).close()
    except OSError as error:
        return Finding("port", False, f"{host}:{port}: {error.strerror}; stop what listens there, or set http.port")
    return Finding("port", True, f"{host}:{port} is free")


def _udp() -> Finding:
    """Media comes by UDP: send a datagram to ourselves by the address that phones would use."""
    addresses = local_addresses()
    if not addresses:
        return Finding("UDP", False, "this machine has no address but loopback: phones cannot reach it; join a network")
    address = addresses[0]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as here, socket.socket(family, socket.SOCK_DGRAM) as there:
            here.bind((address, 0))
            here.settimeout(UDP_TIMEOUT_S)
            there.sendto(b"commonground", here.getsockname())
            here.recvfrom(64)
    except OSError as error:
        return Finding("UDP", False, f"a datagram to {address} did not arrive ({error}); open UDP in the firewall")
    return Finding("UDP", True, f"{address} answers; phones use random ports above 1023: open them in firewalls")


def _gpu() -> Finding:
    found = gpus()
    return Finding("GPU", True, ", ".join(found) if found else "none; the classical engine needs none")


def _engine(settings: Settings) -> Finding:
    options = settings.engine.options
    name = choose_engine(settings.engine.name, options)
    devices = choose_devices(settings.workers.devices, name)
    try:
        lacks = [lack for device in devices if (lack := engines.unfit(name, dict(options), device)) is not None]
    except Exception as error:  # an engine of somebody else may raise anything
        return Finding("engine", False, f"{name}: {error}")
    if lacks:
        return Finding("engine", False, f"{name}: {lacks[0]}")
    weights = "no weights needed" if name == "classical" else "weights found, their names and shapes fit"
    return Finding("engine", True, f"{name} on {', '.join(devices)}, {weights}")


def _recast() -> Finding:
    try:
        importlib.import_module("navmesh.recast")
    except ImportError as error:
        return Finding("Recast", False, f"the native module does not load ({error}); run `make setup`")
    return Finding("Recast", True, "native module loads")


def _video() -> Finding:
    import av

    missing = [name for name in ("h264", "vp8") if name not in av.codecs_available]
    if missing:
        return Finding("video", False, f"PyAV cannot decode {', '.join(missing)}; install its official wheel")
    return Finding("video", True, f"PyAV {av.__version__} decodes H264 and VP8")


def _pages(settings: Settings) -> Finding:
    folder: Path | None = settings.http.pages or default_folder()
    if not is_built(folder):
        return Finding("pages", False, f"not built in {folder}; run `make setup` (needs Node 20)")
    return Finding("pages", True, str(folder))
