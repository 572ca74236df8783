"""Clients of the encrypted bus: ``kwsctl events`` and the example, and keys that are no good."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import zmq
from fake_kwsd import FakeKwsd

from kwsd.kwsctl import main as kwsctl
from kwsd.sink.curve import SecuredEndpoint, write_pair

pytestmark = pytest.mark.skipif(not zmq.has("curve"), reason="libzmq without CURVE")

EXAMPLE = Path(__file__).parent.parent / "examples/subscribe.py"


def client_keys(tmp_path: Path) -> list[str]:
    """The options of a client that the daemon knows."""
    own, server = tmp_path / "client/kitchen.key_secret", tmp_path / "server/bus.key"
    return ["--key-file", str(own), "--server-key-file", str(server)]


def test_events_are_printed_from_another_machine(
    tmp_path: Path, secured: SecuredEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    service = FakeKwsd(tmp_path, secured=secured)
    words = ["events", "--endpoint", secured.endpoint, "--json", "--count", "1", "health/"]
    try:
        assert kwsctl([*words, *client_keys(tmp_path)]) == 0
        assert json.loads(capsys.readouterr().out)["type"] == "health.beat"
        # Who is refused is told what may be missing: the daemon itself says nothing.
        assert kwsctl([*words, "--timeout-s", "0.3"]) == 69
        assert "if that is bus.tcp_endpoint, give --key-file" in capsys.readouterr().err
        write_pair(tmp_path / "stranger", "stranger")
        strange = client_keys(tmp_path)
        strange[1] = str(tmp_path / "stranger/stranger.key_secret")
        assert kwsctl([*words, *strange, "--timeout-s", "0.3"]) == 69
        assert "this client's .key into bus.curve_clients_directory" in capsys.readouterr().err
    finally:
        service.close()


def test_keys_that_cannot_be_used_are_named(
    tmp_path: Path, secured: SecuredEndpoint, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "junk").write_bytes(b"\xff\x00junk")
    whole = (tmp_path / "client/kitchen.key_secret").read_text()
    (tmp_path / "half").write_text(whole[:-20])
    # As long as a key that is not in Z85, which libzmq takes as well.
    (tmp_path / "raw").write_text('curve\n    public-key = "' + "x" * 32 + '"\n')

    def fails(code: int, words: str, *options: str, endpoint: str = secured.endpoint) -> None:
        assert kwsctl(["events", "--endpoint", endpoint, *options]) == code
        error = capsys.readouterr().err
        assert words in error and error.count("\n") == 1

    own, server = client_keys(tmp_path)[1::2]

    def both(own: object, server: object) -> list[str]:
        return ["--key-file", str(own), "--server-key-file", str(server)]

    fails(64, "give both or neither", "--key-file", own)
    fails(64, "give both or neither", "--server-key-file", server)
    fails(64, "must be tcp://", *both(own, server), endpoint="ipc:///run/kwsd/events.sock")
    fails(66, f"--key-file {tmp_path}/no: no such file; make", *both(tmp_path / "no", server))
    fails(66, "bus.key there", *both(own, tmp_path / "no"))
    fails(78, "holds no secret key", *both(server, server))
    fails(78, "holds no key", *both(tmp_path / "junk", server))
    fails(78, "holds a damaged key", *both(tmp_path / "half", server))
    fails(78, f"--server-key-file {tmp_path}/raw holds a damaged key", *both(own, tmp_path / "raw"))
    fails(78, "cannot be read: Is a directory", *both(own, tmp_path))


def test_the_example_hears_an_encrypted_bus(tmp_path: Path, secured: SecuredEndpoint) -> None:
    service = FakeKwsd(tmp_path, secured=secured)

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(EXAMPLE), "--endpoint", secured.endpoint, "--count", "1"]
            + [*options, "health/"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )

    try:
        heard = run(*client_keys(tmp_path))
        assert heard.stdout.startswith("health/beat/ ") and heard.returncode == 0
    finally:
        service.close()
    own, server = client_keys(tmp_path)[1::2]
    assert "both or neither" in run("--key-file", own).stderr
    for wrong, said in ((server, "no secret key"), (f"{own}.none", "kitchen.key_secret.none")):
        refused = run("--key-file", wrong, "--server-key-file", server)
        assert refused.returncode == 1 and said in refused.stderr
        assert "Traceback" not in refused.stderr
    assert ":5577 wake" not in EXAMPLE.read_text(), "that port is the encrypted one"
