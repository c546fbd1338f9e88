"""Who may reach the bus ports: allow-list, read-only, writes a second, TLS with certificates of the clients."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from countis import E44, Bus, Meter
from countis.host.running.feeder import Feeder
from countis.host.running.hub import LineHub, MeterPort
from countis.modbus import pdu, rtu, tcp
from countis.serve import tcp_port as ports
from countis.serve.access import Policy, read_networks, tls_context
from countis.supply import three_phase
from countis.words.errors import Refused, SettingError

from running import Running, command, countis_run, start, stop

TARIFF = bytes.fromhex("06 9E21 0002")
READ = pdu.read_request(50000, 4)


def hub(policy: Policy) -> LineHub:
    meter = Meter(E44, tariff_control="com")
    return LineHub([MeterPort(Feeder(meter, three_phase(230, 1.0), 1.0))], policy=policy)


@pytest.mark.parametrize(("networks", "peer", "admitted"), [
    ([], "8.8.8.8", True),
    (["127.0.0.1"], "127.0.0.1", True),
    (["127.0.0.1"], "127.0.0.2", False),
    (["10.0.0.0/8", "192.168.1.0/24"], "192.168.1.77", True),
    (["10.0.0.0/8"], "::ffff:10.1.2.3", True),
    (["10.0.0.0/8"], "::1", False),
    (["fe80::/10"], "fe80::1%eth0", True),
    (["10.0.0.0/8"], "", False),
])  # fmt: skip
def test_who_may_connect(networks: list[str], peer: str, admitted: bool) -> None:
    assert Policy(read_networks(networks)).admits(peer) is admitted


@pytest.mark.parametrize("text", ["10.0.0.1/8", "all", "", "300.0.0.1"])
def test_a_network_that_is_none_is_told(text: str) -> None:
    with pytest.raises(SettingError, match=r"^--allow: "):
        read_networks([text])


def test_a_read_only_line_refuses_every_write_and_carries_out_none() -> None:
    line = hub(Policy(read_only=True))
    assert line.rtu(rtu.frame(5, TARIFF)).data == rtu.frame(5, b"\x86\x01")
    assert line.rtu(rtu.frame(5, pdu.write_request(0x9E21, [2]))).data == rtu.frame(5, b"\x90\x01")
    assert line.rtu(rtu.frame(0, TARIFF)).data == b""
    assert line.rtu(rtu.frame(6, TARIFF)).data == b""  # not ours to refuse
    assert line.tcp(tcp.Envelope(1, 5, TARIFF)).data[7:] == b"\x86\x01"
    assert line.tcp(tcp.Envelope(1, 6, TARIFF)).data[7:] == b"\x86\x0b"
    assert line.ports[0].feeder.meter["tariff"] == 1
    assert line.rtu(rtu.frame(5, READ)).data[1] == 3


def test_writes_a_second_are_bounded_and_reads_are_not() -> None:
    line = hub(Policy(writes=3))
    answers = [line.rtu(rtu.frame(5, TARIFF)).data for _ in range(5)]
    assert answers == [rtu.frame(5, TARIFF)] * 3 + [rtu.frame(5, b"\x86\x06")] * 2
    assert all(line.rtu(rtu.frame(5, READ)).data[1] == 3 for _ in range(20))


def test_without_a_policy_everything_passes() -> None:
    line = hub(Policy())
    assert line.rtu(rtu.frame(5, TARIFF)).data == rtu.frame(5, TARIFF)
    assert line.ports[0].feeder.meter["tariff"] == 2


def test_flags_hold_on_real_ports(tmp_path: Path) -> None:
    with countis_run(tmp_path, "--read-only", "--tariff-control", "com") as meter, Bus.open(meter.target) as line:
        with pytest.raises(Refused, match="exception 1"):
            line[5].select_tariff(2)
        assert line[5].read("tariff") == {"tariff": 1}
    with countis_run(tmp_path, "--allow", "192.0.2.0/24") as meter:
        assert command("read", meter.target, "5", "V").returncode == 2


TOGETHER = "countis: --tls: not without the others (allowed: --tls, --tls-cert, --tls-key and --tls-ca together)\n"


@pytest.mark.parametrize(("flags", "told"), [
    (["--allow", "x"], "countis: --allow: 'x' is not possible (allowed: an address or a network, 10.0.0.0/8)\n"),
    (["--max-writes", "0"], "countis: --max-writes: 0 is not possible (allowed: 1..1000000)\n"),
    (["--tls", "127.0.0.1:0"], TOGETHER),
    (["--tls", "127.0.0.1:0", "--tls-cert", "/none", "--tls-key", "/none", "--tls-ca", "/none"],
     "countis: --tls-cert /none: not a file (allowed: PEM)\n"),
])  # fmt: skip
def test_flags_that_cannot_be_are_one_line(tmp_path: Path, flags: list[str], told: str) -> None:
    done = command("run", "--data", str(tmp_path / "data"), *flags)
    assert (done.returncode, done.stderr) == (2, told)
    assert not (tmp_path / "data").exists()


# TLS


def openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def authority(folder: Path, name: str) -> None:
    """Make a certificate that signs others."""
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
            f"/CN={name}", "-keyout", str(folder / f"{name}.key"), "-out", str(folder / f"{name}.pem"))  # fmt: skip


def signed(folder: Path, name: str, by: str) -> None:
    """Make a certificate for 127.0.0.1 that an authority signed."""
    request, extra = folder / f"{name}.csr", folder / f"{name}.ext"
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", f"/CN={name}",
            "-keyout", str(folder / f"{name}.key"), "-out", str(request))  # fmt: skip
    extra.write_text("subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n")
    openssl("x509", "-req", "-in", str(request), "-CA", str(folder / f"{by}.pem"), "-CAkey", str(folder / f"{by}.key"),
            "-CAcreateserial", "-days", "2", "-extfile", str(extra), "-out", str(folder / f"{name}.pem"))  # fmt: skip


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Running, Path]]:
    """A meter behind Modbus/TCP Security, and the folder of the certificates."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("tls")
    for name in ("ours", "theirs"):
        authority(folder, name)
    for name, by in (("server", "ours"), ("client", "ours"), ("stranger", "theirs")):
        signed(folder, name, by)
    files = {"cert": "server.pem", "key": "server.key", "ca": "ours.pem"}
    flags = [word for name, file in files.items() for word in (f"--tls-{name}", str(folder / file))]
    meter = start(folder, "--tls", "127.0.0.1:0", *flags)
    yield meter, folder
    assert stop(meter)[::2] == (0, "")


def exchange(secured: tuple[Running, Path], client: str | None) -> bytes:
    """Read through TLS as a client with a certificate, or without one."""
    meter, folder = secured
    context = ssl.create_default_context(cafile=str(folder / "ours.pem"))
    if client is not None:
        context.load_cert_chain(folder / f"{client}.pem", folder / f"{client}.key")
    host, port = meter.ready["tls"].split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as line,
    ):
        line.sendall(tcp.wrap(7, 5, READ))
        return line.recv(300)


def test_a_client_whose_certificate_is_signed_is_answered(secured: tuple[Running, Path]) -> None:
    assert exchange(secured, "client") == tcp.wrap(7, 5, bytes.fromhex("0308 0053 004F 0043 004F"))


@pytest.mark.parametrize("client", [None, "stranger"])
def test_a_client_without_a_certificate_or_with_a_strange_one_is_not(secured: tuple[Running, Path], client: str | None) -> None:
    try:
        answer = exchange(secured, client)
    except (ssl.SSLError, ConnectionError):
        answer = b""
    assert answer == b""


def test_a_client_without_tls_is_not_answered(secured: tuple[Running, Path]) -> None:
    meter, _ = secured
    host, port = meter.ready["tls"].split(":")
    with socket.create_connection((host, int(port)), timeout=5) as plain:
        plain.sendall(tcp.wrap(7, 5, READ))
        try:
            answer = plain.recv(300)
        except ConnectionError:
            answer = b""
        assert b"SOCO" not in answer


def test_many_requests_at_once_are_answered_through_tls(secured: tuple[Running, Path]) -> None:
    """More than one record, and more than is read at once."""
    meter, folder = secured
    context = ssl.create_default_context(cafile=str(folder / "ours.pem"))
    context.load_cert_chain(folder / "client.pem", folder / "client.key")
    host, port = meter.ready["tls"].split(":")
    with (
        socket.create_connection((host, int(port)), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=host) as line,
    ):
        line.sendall(tcp.wrap(7, 5, READ) * 3000)
        wanted, said = tcp.wrap(7, 5, bytes.fromhex("0308 0053 004F 0043 004F")) * 3000, b""
        while len(said) < len(wanted):
            said += line.recv(65536)
        assert said == wanted
        assert meter.process.poll() is None


def test_a_handshake_that_never_ends_is_closed(monkeypatch: pytest.MonkeyPatch, secured: tuple[Running, Path]) -> None:
    monkeypatch.setattr(ports, "_SWEEP_S", 0.02)
    monkeypatch.setattr(ports, "_SLOW_S", 0.05)
    folder = secured[1]
    tls = tls_context(folder / "server.pem", folder / "server.key", folder / "ours.pem")
    server = ports.TcpServer(hub(Policy()), ports.TcpRequests, ("127.0.0.1", 0), "--tls", tls=tls)
    server.start()
    host, port = server.name.split(":")
    try:
        with socket.create_connection((host, int(port)), timeout=5) as plain:
            assert plain.recv(1) == b""
    finally:
        server.close()
