"""The own authority: made once, trusted by clients, signed anew when it must be."""

from __future__ import annotations

import socket
import ssl
import stat
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509

from server.tls import LEAF_DAYS, Authority, local_addresses, local_names, server_context

NOW = datetime.now(UTC).replace(microsecond=0)


def serial(authority: Authority) -> int:
    return x509.load_pem_x509_certificate(authority.cert_path.read_bytes()).serial_number


def test_it_is_signed_anew_only_for_a_reason(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    assert authority.ensure(["localhost", "192.168.0.2"], NOW)
    ca = authority.ca_path.read_bytes()
    assert not authority.ensure(["192.168.0.2", "localhost"], NOW)
    assert not authority.ensure(["localhost"], NOW)
    assert not authority.ensure(["localhost"], NOW + timedelta(LEAF_DAYS - 31))
    first = serial(authority)
    assert authority.ensure(["localhost"], NOW + timedelta(LEAF_DAYS - 29))
    assert authority.ensure(["localhost", "10.0.0.7"], NOW)
    assert serial(authority) != first
    assert authority.ca_path.read_bytes() == ca


@pytest.mark.parametrize("name", ["server.pem", "server.key", "ca.key", "ca.pem"])
def test_damaged_files_are_replaced(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    authority.ensure(["localhost"], NOW)
    (tmp_path / name).write_bytes(b"damaged")
    assert authority.ensure(["localhost"], NOW)
    server_context(authority.cert_path, authority.key_path)
    assert not authority.ensure(["localhost"], NOW)


def test_keys_are_nobody_elses(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    authority.ensure(["localhost"], NOW)
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    for key in (tmp_path / "tls").glob("*.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1"])
def test_a_client_that_trusts_the_authority_connects_by_name_and_address(tmp_path: Path, name: str) -> None:
    authority = Authority(tmp_path)
    authority.ensure(["localhost", "127.0.0.1"], NOW)
    context = server_context(authority.cert_path, authority.key_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            connection, _ = listener.accept()
            with context.wrap_socket(connection, server_side=True) as tls:
                tls.sendall(b"hello")

        thread = threading.Thread(target=answer)
        thread.start()
        client = ssl.create_default_context(cafile=authority.ca_path)
        client.verify_flags |= ssl.VERIFY_X509_STRICT
        with (
            socket.create_connection(listener.getsockname()) as raw,
            client.wrap_socket(raw, server_hostname=name) as tls,
        ):
            assert tls.recv(5) == b"hello"
            assert tls.version() in ("TLSv1.2", "TLSv1.3")
        thread.join()


def test_names_of_this_machine() -> None:
    names = local_names(["extra.example"])
    assert {"localhost", "127.0.0.1", "::1", "extra.example", *local_addresses()} <= set(names)
