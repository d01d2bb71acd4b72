"""Addresses, passwords and what they make together."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from exportfs.cli.params.mount_options import server_options
from exportfs.cli.server import (
    find_password,
    is_loopback,
    read_password_file,
    server_config,
    split_address,
)
from exportfs.config import ServerConfig
from exportfs.errors import InvalidArgument


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("vms", ("vms", 20109)),
        ("vms.example.org:443", ("vms.example.org", 443)),
        ("10.0.0.1", ("10.0.0.1", 20109)),
        ("[::1]:5", ("::1", 5)),
        ("[::1]", ("::1", 20109)),
        ("fe80::1", ("fe80::1", 20109)),
    ],
)
def test_address(text: str, address: tuple[str, int]) -> None:
    assert split_address(text) == address


@pytest.mark.parametrize(
    "text",
    ["", ":5", "vms:", "vms:0", "vms:65536", "vms:x", "https://vms", "a b", "[::1", "[::1]5", "1:2:3", "-x"],
)
def test_no_address(text: str) -> None:
    with pytest.raises(InvalidArgument, match="invalid server"):
        split_address(text)


def test_loopback() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.9.9.9", "::1", "LOCALHOST."))
    assert not any(is_loopback(host) for host in ("vms", "10.0.0.1", "localhost.example.org", "::2"))


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("from file\n")
    path.chmod(0o600)
    return path


def test_password_file(secret: Path) -> None:
    assert read_password_file(secret) == "from file"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620])
def test_password_file_that_others_can_read(secret: Path, mode: int) -> None:
    secret.chmod(mode)
    with pytest.raises(InvalidArgument, match="chmod 600"):
        read_password_file(secret)


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb\n", b"x" * 5000, b"\xff"])
def test_password_file_that_holds_no_password(secret: Path, content: bytes) -> None:
    secret.write_bytes(content)
    with pytest.raises(InvalidArgument) as caught:
        read_password_file(secret)
    assert "xxx" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"s3cret",
        b"s3cret\n",
        b"s3cret\r\n",
        b"\xef\xbb\xbfs3cret",
        b"\xef\xbb\xbfs3cret\r\n",
    ],
)
def test_marks_and_line_ends_of_a_password_file(secret: Path, content: bytes) -> None:
    secret.write_bytes(content)
    assert read_password_file(secret) == "s3cret"


@pytest.mark.parametrize(
    "content", [b" s3 cret ", "p\u00e4ss\U0001f511w\u00f6rd".encode(), "a\u200db".encode(), b"x"]
)
def test_what_may_be_meant_stays(secret: Path, content: bytes) -> None:
    secret.write_bytes(content)
    assert read_password_file(secret) == content.decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("s3cret".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        (b"\xfe\xff" + "s3cret".encode("utf-16-be"), "is UTF-16: save it as UTF-8"),
        ("s3cret".encode("utf-16-le"), "may be UTF-16"),
        ("\ufeff\ufeffs3cret".encode(), r"begins with an invisible character, U\+FEFF"),
        ("\u200bs3cret".encode(), r"begins with an invisible character, U\+200B \(zero width space\)"),
        ("\u202as3cret\u202c".encode(), r"U\+202A"),
        ("s3cret\u200b\n".encode(), r"ends with an invisible character, U\+200B"),
        ("\u2060s3cret".encode(), r"U\+2060"),
        (b"s3\x1b[200~cret", r"control character, U\+001B"),
        (b"s3cret\r\r\n", r"control character, U\+000D"),
        (b"\xef\xbb\xbf", "must hold the password"),
        (b"s\xe9cret", "not UTF-8"),
    ],
)
@pytest.mark.promise("C10")
def test_a_password_with_something_invisible_is_never_sent(secret: Path, content: bytes, words: str) -> None:
    secret.write_bytes(content)
    with pytest.raises(InvalidArgument, match=words) as caught:
        read_password_file(secret)
    assert "cret" not in str(caught.value).replace(str(secret), "")


def test_a_mark_is_refused_wherever_the_password_comes_from() -> None:
    """Only a file's front is certain to be a mark."""
    marked = "\ufeffs3cret"
    for environ, ask in (({"EXPORTFS_PASSWORD": marked}, None), ({}, lambda: marked)):
        with pytest.raises(InvalidArgument, match=r"U\+FEFF"):
            find_password({"user": "me"}, on_command_line=False, environ=environ, ask=ask)


def test_precedence_of_passwords(secret: Path) -> None:
    values = {"password_file": secret, "user": "me"}
    environ = {"EXPORTFS_PASSWORD": "from environment"}

    def find(values: dict[str, Any], on_command_line: bool, environ: dict[str, str], ask: Any = None) -> str:
        return find_password(values, on_command_line=on_command_line, environ=environ, ask=ask)

    assert find(values, True, environ) == "from file"
    assert find(values, False, environ) == "from environment"
    assert find(values, False, {}) == "from file"
    assert find({"user": "me"}, False, {}, lambda: "typed") == "typed"
    with pytest.raises(InvalidArgument, match="no password for me"):
        find({"user": "me"}, False, {"EXPORTFS_PASSWORD": ""})


def config_of(words: list[str], address: str, profile: dict[str, object], environ: dict[str, str]) -> Any:
    made: list[ServerConfig] = []

    @click.command()
    @server_options
    @click.pass_context
    def command(ctx: click.Context, /, **_: object) -> None:
        made.append(server_config(ctx, address, environ=environ))

    result = CliRunner().invoke(command, words, default_map=profile)
    if result.exception is not None:
        raise result.exception
    return made[0]


def test_config_of_everything(secret: Path) -> None:
    words = ["--user", "me", "--password-file", str(secret), "--tls-server-name", "Server"]
    config = config_of(words, "vms:5", {"ca_file": Path("/ca.pem"), "user": "other"}, {})
    assert config == ServerConfig(
        "vms", 5, user="me", password="from file", ca_file=Path("/ca.pem"), tls_server_name="Server"
    )
    assert "from file" not in repr(config)


def test_no_user_no_password() -> None:
    assert config_of([], "vms", {}, {"EXPORTFS_PASSWORD": "x"}) == ServerConfig("vms")


def test_plaintext_password_stays_on_this_machine() -> None:
    environ = {"EXPORTFS_PASSWORD": "hunter2"}
    with pytest.raises(InvalidArgument, match="unencrypted") as caught:
        config_of(["--user", "me", "--insecure"], "vms", {}, environ)
    assert "hunter2" not in str(caught.value)
    assert config_of(["--user", "me", "--insecure"], "localhost", {}, environ).password == "hunter2"
    assert config_of(["--insecure"], "vms", {}, environ).password is None


def test_nobody_to_ask() -> None:
    with pytest.raises(InvalidArgument, match="give --password-file"):
        config_of(["--user", "me"], "vms", {}, {})
