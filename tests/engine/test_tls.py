"""A scheduler with TLS: certificates from the configuration or from Dask's, and what is said without the right ones."""

import socket
import ssl
import threading
import time

import dask
import pytest

from landweave.core.errors import ConfigError, EngineError
from landweave.engine.clusters import connected_engine
from tests.block_jobs import SquareJob, run_squares
from tests.helpers.clusters import scheduler, unused_port
from tests.helpers.tls import Certificates


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def certificates(folder):
    return Certificates.make(folder / "ours")


@pytest.fixture(scope="module")
def strangers(folder):
    return Certificates.make(folder / "strangers")


@pytest.fixture(scope="module")
def cluster(folder, certificates):
    with scheduler(folder / "logs", unused_port(), protocol="tls", options=certificates.options) as processes:
        processes.worker()
        with connected_engine(processes.address, security=files(certificates)) as engine:
            processes.wait_for(engine.client, 1)
        yield processes


def files(certificates):
    return str(certificates.ca), str(certificates.cert), str(certificates.key)


def refused(kind, address, security=None):
    started = time.monotonic()
    with pytest.raises(kind) as error, connected_engine(address, security=security):
        pass
    assert time.monotonic() - started < 5
    return str(error.value)


def test_a_run_with_certificates_of_the_configuration(cluster, certificates, tmp_path):
    with connected_engine(cluster.address, security=files(certificates)) as engine:
        assert run_squares(SquareJob(folder=tmp_path), engine, (2, 3))[0].exit_code == 0


def test_a_run_with_certificates_of_dasks_own_configuration(cluster, certificates, tmp_path):
    names = ("ca-file", "client.cert", "client.key")
    settings = {f"distributed.comm.tls.{name}": path for name, path in zip(names, files(certificates), strict=True)}
    with dask.config.set(settings), connected_engine(cluster.address) as engine:
        assert run_squares(SquareJob(folder=tmp_path), engine, (1, 2))[0].exit_code == 0


def test_without_certificates_the_ways_to_name_them_are_said(cluster):
    message = refused(ConfigError, cluster.address)
    assert message.startswith(f"{cluster.address} needs certificates, and none are named: set engine.security")
    assert "DASK_DISTRIBUTED__COMM__TLS__CA_FILE" in message


def test_a_client_of_another_authority_is_refused(cluster, certificates, strangers):
    mine = (str(certificates.ca), str(strangers.cert), str(strangers.key))
    assert "refuses this client" in refused(EngineError, cluster.address, mine)


def test_a_scheduler_of_another_authority_is_refused(cluster, strangers):
    assert "has a certificate that is refused here: " in refused(EngineError, cluster.address, files(strangers))


def test_files_that_are_none_are_named(cluster, certificates, tmp_path):
    ca, cert, key = files(certificates)
    missing = str(tmp_path / "no.pem")
    assert f"engine.security.key: {missing} cannot be read: No such file" in refused(
        ConfigError, cluster.address, (ca, cert, missing)
    )
    assert "these cannot be used" in refused(ConfigError, cluster.address, (key, cert, key))


def test_certificates_go_with_an_address_that_has_tls(certificates):
    assert "write tls://" in refused(ConfigError, "tcp://127.0.0.1:1", files(certificates))


def test_without_tls_a_scheduler_that_has_it_says_nothing(cluster):
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        message = refused(EngineError, cluster.address.replace("tls", "tcp"))
    assert "says nothing that a Dask scheduler says" in message
    assert "A scheduler with TLS has a tls:// address" in message


def test_whoever_else_listens_is_no_scheduler(certificates):
    with socket.create_server(("127.0.0.1", 0)) as mute, dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        port = mute.getsockname()[1]
        assert "says nothing that a Dask" in refused(EngineError, f"tcp://127.0.0.1:{port}")
        assert "says nothing that a Dask" in refused(EngineError, f"tls://127.0.0.1:{port}", files(certificates))


def test_where_nobody_answers(certificates):
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        message = refused(EngineError, f"tls://127.0.0.1:{unused_port()}", files(certificates))
    assert message.startswith("No Dask scheduler answers at tls://127.0.0.1")


def test_a_certificate_whose_time_is_over_is_named(folder):
    expired = Certificates.make(folder / "expired", hours=-0.5)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(expired.cert, expired.key)

    def accept(listener):
        with pytest.raises(ssl.SSLError), listener.accept()[0] as plain:
            context.wrap_socket(plain, server_side=True)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=accept, args=(listener,))
        server.start()
        address = f"tls://127.0.0.1:{listener.getsockname()[1]}"
        refusal = pytest.raises(EngineError, match=r"refused here: certificate has expired.*within its time")
        with refusal, connected_engine(address, security=files(expired)):
            pass
        server.join()
