"""The configuration file, and what goes over what."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from exportfs.cli import program
from exportfs.cli.commands.mount import mount, mount_config
from exportfs.cli.configuration import Configuration, ConfigurationError, default_path, load
from exportfs.cli.params.mount_options import profile_keys
from exportfs.cli.server import find_profile, use_profile
from exportfs.config import MountConfig

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
uid = "root"
gid = 4100
umask = "027"
new-mode = "1777"
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
        "uid": 0,
        "gid": 4100,
        "umask": 0o27,
        "new_mode": 0o1777,
        "log_file": Path("/home/someone/exportfs.log"),
        "log_level": "debug",
        "refresh": 2.5,
        "timeout": 20.0,
        "keep_alive": 5400.0,
        "cache_size": 1 << 30,
        "max_downloads": 8,
        "mountpoint": Path("/mnt/hq"),
    }
    assert set(profile) == {key.replace("-", "_") for key in profile_keys()}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("umask = 0o77", "expected a string in quotes"),  # 63 of TOML, which 0o77 is, would be another mask
        ('umask = "79"', "not an octal number from 0 to 777, as in 027"),
        ('new-mode = "17777"', "not an octal number from 0 to 7777"),
        ('uid = "no-such-user"', "there is no user 'no-such-user'"),
        ("gid = 4294967295", "larger than any id of a group"),
    ],
)
def test_ownership_that_is_none(file: Path, line: str, said: str) -> None:
    file.write_text(f"[defaults]\n{line}\n")
    with pytest.raises(ConfigurationError, match=said):
        load(file)


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
        ('[defaults]\ninsecure = "yes"', "`insecure`: expected true or false, not 'yes'"),
        ("[defaults]\nuser = 5", "`user`: expected a string in quotes, on one line, not 5"),
        ('[defaults]\nuser = ""', "`user`: must not be empty"),
        ('[defaults]\ncache-size = "lots"', "`cache-size`: invalid size 'lots'"),
        ("[defaults]\ncache-size = true", "`cache-size`: expected a number, or a string in quotes, not True"),
        ("[defaults]\ncache-size = 1.5", "`cache-size`: invalid size '1.5'"),
        ("[defaults]\ntimeout = 0", "`timeout`: must be at least 0.1 seconds"),
        ("[defaults]\ntimeout = nan", "`timeout`: invalid duration 'nan'"),
        ("[defaults]\nrefresh = []", "`refresh`: expected a number, or a string in quotes, not []"),
        ("[defaults]\nmax-downloads = 0", "`max-downloads`: '0' is not a whole number from 1 to 64"),
        (
            "[defaults]\nmax-downloads = true",
            "`max-downloads`: expected a number, or a string in quotes, not True",
        ),
        (
            '[defaults]\nlog-level = "loud"',
            "`log-level`: 'loud' is not one of debug, info, warning, error",
        ),
        ("[defaults]\nlog-level = []", "`log-level`: expected a number, or a string in quotes, not []"),
        (
            "[profile.hq]\nmax-downloads = 100000",
            "[profile.hq]: `max-downloads`: '100000' is not a whole number from 1 to 64",
        ),
        ("[defaults]\nmax-downloads = 1.5", "`max-downloads`: '1.5' is not a whole number from 1 to 64"),
        ("[defaults]\nmax-downloads = 'four'", "`max-downloads`: 'four' is not a whole number from 1 to 64"),
        ("[defaults]\nrefresh = 0.05", "`refresh`: must be at least 0.1 seconds"),
        ("[defaults]\ncache-size = 1000", "`cache-size`: must be at least 1M"),
        ("[defaults]\ncache-size = -1", "`cache-size`: invalid size '-1'"),
        ("[defaults]\nca-file = ''", "`ca-file`: must not be empty"),
        ("[defaults]\nca-file = 2026-05-11", "`ca-file`: expected a string in quotes"),
        ("[defaults]\nforeground = true", "unknown key `foreground`"),
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


def made(file: Path, text: str, *words: str) -> MountConfig:
    """What `mount WORDS` would mount, with this configuration; `run` raises what is wrong."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    found: list[MountConfig] = []

    @click.command(params=mount.params)
    @click.pass_context
    def command(ctx: click.Context, /, server: str, **_: object) -> None:
        found.append(mount_config(ctx, server))

    command.main(list(words), standalone_mode=False)
    return found[0]


@pytest.mark.parametrize(
    ("words", "profile", "timeout"),
    [
        ([], "", 30.0),
        ([], "timeout = 20", 20.0),
        (["--timeout", "5"], "timeout = 20", 5.0),
        (["--timeout", "30"], "timeout = 20", 30.0),
    ],
)
@pytest.mark.promise("C9")
def test_precedence_of_options(words: list[str], profile: str, timeout: float) -> None:
    text = f"[defaults]\nread-only = true\ntimeout = 15\n[profile.hq]\nserver = 'vms:5'\n{profile}\n"
    config = made(default_path(), text, "hq", "/mnt", *words)
    assert config.timeout == (timeout if words or profile else 15.0)
    assert config.read_only
    assert config.server.address == "vms:5"
    assert made(default_path(), text, "elsewhere", "/mnt").server.address == "elsewhere:20109"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max-downloads", "100000"),
        ("max-downloads", "0"),
        ("max-downloads", "x"),
        ("log-level", "loud"),
        ("refresh", "0.05"),
        ("timeout", "0"),
        ("keep-alive", "-1"),
        ("keep-alive", "1h30"),
        ("cache-size", "1023K"),
        ("user", ""),
        ("user", "a\tb"),
        ("agent", " "),
        ("ca-file", ""),
        ("tls-server-name", ""),
    ],
)
@pytest.mark.promise("C9")
def test_what_the_command_line_refuses_a_profile_does_too(key: str, value: str) -> None:
    """And /etc/fstab, in the same words."""
    with pytest.raises(click.BadParameter) as typed:
        made(default_path(), "", "vms", "/mnt", f"--{key}={value}")
    with pytest.raises(ConfigurationError) as written:
        made(default_path(), f"[profile.vms]\n{key} = {json.dumps(value)}\n", "vms", "/mnt")
    assert str(written.value) == f"{default_path()}: [profile.vms]: `{key}`: {typed.value.message}"
    default_path().write_text("")
    result = CliRunner().invoke(program, ["mount-helper", "vms", "/mnt", "-o", f"{key}={value}"])
    assert result.exit_code == 1
    assert typed.value.message in result.stderr


@pytest.mark.parametrize(
    ("key", "value", "name", "is_"),
    [
        ("log-level", "INFO", "log_level", "info"),
        ("log-level", "Debug", "log_level", "debug"),
        ("max-downloads", "8", "max_downloads", 8),
        ("cache-size", "1g", "cache_size", 1 << 30),
        ("keep-alive", "0", "keep_alive", 0.0),
        ("refresh", "1m", "refresh", 60.0),
    ],
)
def test_what_the_command_line_takes_a_profile_does_too(key: str, value: str, name: str, is_: object) -> None:
    typed = made(default_path(), "", "vms", "/mnt", f"--{key}={value}")
    written = made(default_path(), f"[profile.vms]\n{key} = {json.dumps(value)}\n", "vms", "/mnt")
    assert getattr(typed, name) == is_
    assert typed == written


def test_the_profiles_mount_point() -> None:
    text = '[profile.hq]\nserver = "vms"\nmountpoint = "/mnt/hq"\n'
    assert made(default_path(), text, "hq").mountpoint == Path("/mnt/hq")
    assert made(default_path(), text, "hq", "/mnt/other").mountpoint == Path("/mnt/other")
    with pytest.raises(click.UsageError, match="give it, or `mountpoint` in the profile"):
        made(default_path(), text, "vms")


@pytest.mark.parametrize(
    "content", [FULL.encode("utf-8-sig"), FULL.replace("\n", "\r\n").encode("utf-8-sig")]
)
def test_byte_order_mark_and_line_ends_of_windows(file: Path, content: bytes) -> None:
    file.write_text(FULL)
    plain = load(file)
    file.write_bytes(content)
    assert load(file) == plain


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_named(file: Path, encoding: str) -> None:
    file.write_bytes(("\ufeff" if encoding == "utf-16-be" else "").encode(encoding) + FULL.encode(encoding))
    with pytest.raises(ConfigurationError, match="is UTF-16: save it as UTF-8"):
        load(file)


def test_the_profile_is_not_read_for_completions() -> None:
    default_path().parent.mkdir(parents=True)
    default_path().write_text("not TOML")
    ctx = click.Context(mount, resilient_parsing=True)
    assert use_profile(ctx, mount.params[0], "hq") == "hq"
