"""The configuration file, and what goes over what."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from exportfs.cli.configuration import KEYS, Configuration, ConfigurationError, default_path, load
from exportfs.cli.options import resolve
from exportfs.cli.server import find_profile
from exportfs.cli.values import DURATION, SIZE

FULL = """
[defaults]
user = "analyst"
timeout = "1m"
cache-size = 1048576

[profile.hq]
server = "vms.example.org:20110"
password-file = "hq.password"
ca-file = "/etc/ssl/hq.pem"
tls-server-name = "Server"
insecure = false
agent = "hosts/Server/MMExportAgent.0"
read-only = true
allow-other = false
log-file = "~/exportfs.log"
log-level = "debug"
refresh = 2.5
timeout = 20
keep-alive = "1h30m"
cache-size = "1G"
max-downloads = 8
mountpoint = "/mnt/hq"

[profile.lab]
server = "lab"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def test_every_key_with_its_type(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/someone")
    file.write_text(FULL)
    profile = load(file).profile("hq")
    assert profile == {
        "user": "analyst",
        "server": "vms.example.org:20110",
        "password_file": file.parent / "hq.password",
        "ca_file": Path("/etc/ssl/hq.pem"),
        "tls_server_name": "Server",
        "insecure": False,
        "agent": "hosts/Server/MMExportAgent.0",
        "read_only": True,
        "allow_other": False,
        "log_file": Path("/home/someone/exportfs.log"),
        "log_level": "debug",
        "refresh": 2.5,
        "timeout": 20.0,
        "keep_alive": 5400.0,
        "cache_size": 1 << 30,
        "max_downloads": 8,
        "mountpoint": Path("/mnt/hq"),
    }
    assert set(profile) == {key.replace("-", "_") for key in KEYS}


def test_profile_goes_over_defaults(file: Path) -> None:
    file.write_text(FULL)
    configuration = load(file)
    assert configuration.profile("lab") == {
        "server": "lab",
        "user": "analyst",
        "timeout": 60.0,
        "cache_size": 1 << 20,
    }
    assert configuration.profile(None) == {"user": "analyst", "timeout": 60.0, "cache_size": 1 << 20}
    assert configuration.profile("nowhere") is None


def test_word_is_a_profile_or_an_address(file: Path) -> None:
    file.write_text(FULL)
    configuration = load(file)
    assert find_profile("hq", configuration)[1] == "vms.example.org:20110"
    assert find_profile("10.0.0.1", configuration) == (configuration.profile(None), "10.0.0.1")
    unaddressed = Configuration(profiles={"x": {"user": "u"}})
    assert find_profile("x", unaddressed) == ({"user": "u"}, "x")


def test_no_file_is_an_empty_configuration(tmp_path: Path) -> None:
    assert default_path() == tmp_path / "xdg-config" / "axxon-exportfs" / "config.toml"
    assert load() == Configuration()
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "named.toml")


def test_default_file_is_read() -> None:
    default_path().parent.mkdir(parents=True)
    default_path().write_text('[defaults]\nuser = "me"\n')
    assert load().profile(None) == {"user": "me"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            '[profile.hq]\nsevrer = "x"',
            "[profile.hq]: unknown key `sevrer`; the nearest known one is `server`",
        ),
        (
            "[defaults]\nread_only = true",
            "[defaults]: unknown key `read_only`; the nearest known one is `read-only`",
        ),
        ('[profil.hq]\nserver = "x"', "unknown table `profil`; the nearest known one is `profile`"),
        ('user = "x"', "unknown table `user`"),
        ('[defaults]\npassword = "hunter2"', "`password` does not belong in this file"),
        ('[profile.a]\nToken = "hunter2"', "`Token` does not belong in this file"),
        ('[defaults]\ninsecure = "yes"', "`insecure`: 'yes' is neither true nor false"),
        ("[defaults]\nuser = 5", "`user`: 5 is no text"),
        ('[defaults]\nuser = ""', "`user`: '' is no text"),
        ('[defaults]\ncache-size = "lots"', "`cache-size`: 'lots' is no size"),
        ("[defaults]\ncache-size = true", "`cache-size`: True is no size"),
        ("[defaults]\ncache-size = 1.5", "`cache-size`: 1.5 is no size"),
        ("[defaults]\ntimeout = 0", "`timeout`: 0 is too short"),
        ("[defaults]\ntimeout = nan", "`timeout`: nan is no duration"),
        ("[defaults]\nrefresh = []", "`refresh`: [] is no duration"),
        ("[defaults]\nmax-downloads = 0", "`max-downloads`: 0 is no number from 1"),
        ("[defaults]\nmax-downloads = true", "`max-downloads`: True is no number"),
        ('[defaults]\nlog-level = "loud"', "`log-level`: 'loud' is none of debug, info, warning, error"),
        ("[defaults]\nlog-level = []", "`log-level`: [] is none of"),
        ("defaults = 1", "[defaults] must be a table"),
        ("profile = 1", "must hold tables"),
        ("[profile]\nhq = 1", "[profile.hq] must be a table"),
        ("[defaults\n", "not TOML"),
    ],
)
def test_mistakes_are_named(file: Path, text: str, words: str) -> None:
    file.write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert words in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_not_utf8(file: Path) -> None:
    file.write_bytes(b'[defaults]\nuser = "\xff"')
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        load(file)


@pytest.mark.parametrize(
    ("words", "profile", "timeout"),
    [
        ([], {}, 30.0),
        ([], {"timeout": 20.0}, 20.0),
        (["--timeout", "5"], {"timeout": 20.0}, 5.0),
        (["--timeout", "30"], {"timeout": 20.0}, 30.0),
    ],
)
def test_precedence_of_options(words: list[str], profile: dict[str, object], timeout: float) -> None:
    seen: dict[str, Any] = {}

    @click.command()
    @click.option("--timeout", type=DURATION, default=30.0)
    @click.option("--read-only", is_flag=True)
    @click.option("--cache-size", type=SIZE, default="1K")
    @click.pass_context
    def command(ctx: click.Context, /, **_: object) -> None:
        seen.update(resolve(ctx, {"read_only": True, "server": "not an option here", **profile}))

    assert CliRunner().invoke(command, words).exit_code == 0
    assert seen == {"timeout": timeout, "read_only": True, "cache_size": 1024}
