"""The servers of docs/gateway.md, configured word by word as it says: right bytes, one export for each request, nothing
destroyed, and a remount while clients are connected."""

import configparser
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from exportfs.simulator import make_certificates
from tests.gateway.conftest import Gateway, needed
from tests.gateway.machine import PASSWORD, Machine, commands
from tests.support.harness import DEADLINE, eventually

pytestmark = [pytest.mark.mount, pytest.mark.slow, pytest.mark.promise("T19", "W1", "S7")]
CLIENTS = Path(__file__).with_name("clients.py")


class Failed(Exception):
    """What a client was answered."""


class Connected:
    """A client that stays connected."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        assert self._line() == "ready"

    def __call__(self, method: str, *arguments: object) -> Any:
        """Raises Failed."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([method, *arguments]) + "\n")
        self._process.stdin.flush()
        answer = self._line()
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["value"]

    def _line(self) -> Any:
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


@contextmanager
def connected(machine: Machine, kind: str, host: str, user: str) -> Iterator[Connected]:
    command = machine.command("/usr/bin/python3", CLIENTS, kind, host, user, PASSWORD)
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
    ) as process:
        try:
            yield Connected(process)
        finally:
            process.kill()


def refused(client: Connected, method: str, *arguments: object) -> None:
    with pytest.raises(Failed, match=r"Denied|not empty"):
        client(method, *arguments)


def test_sftp(gateway: Gateway) -> None:
    # The first of all tests: it copies the results of all sessions.
    needed("sshd", "openssh-server")
    machine, folder = gateway.machine, gateway.folder
    package = machine.path("/usr/share/openssh/sshd_config")
    machine.write("/etc/ssh/sshd_config", package.read_text())
    machine.run("sh", "-c", "rm -f /etc/ssh/ssh_host_*; mkdir -p /run/sshd")
    # Of one kind: that of RSA takes seconds.
    machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/etc/ssh/ssh_host_ed25519_key")
    key = folder / "key"
    machine.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    machine.write("/home/ana/.ssh/authorized_keys", key.with_suffix(".pub").read_text())
    machine.run("chown", "-R", "ana:", "/home/ana")
    unknown = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
    got = folder / "got"
    got.mkdir()
    with (
        machine.serving("/usr/sbin/sshd", "-D", "-e", port=22),
        # Commands are carried out as they come, so that the remount is in between.
        subprocess.Popen(
            machine.command("sftp", "-q", "-i", key, *unknown, "-b", "-", "ana@127.0.0.1"),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        orders, errors = process.stdin, process.stderr
        assert orders is not None
        assert errors is not None

        def order(*lines: str) -> None:
            """Carried out when it returns."""
            done = folder / "done"
            done.unlink(missing_ok=True)
            orders.write("\n".join((*lines, f"!touch {done}")) + "\n")
            orders.flush()
            eventually(lambda: done.exists() or process.poll() is not None)
            assert process.poll() is None, errors.read()

        def local() -> Path:
            file = folder / "request.json"
            file.write_text(gateway.request())
            return file

        ways = {
            "straight": lambda: order(f"put {local()} axxon/new/straight.json"),
            "kept": lambda: order(f"put -p {local()} axxon/new/kept.json"),
            "part": lambda: order(
                f"put {local()} axxon/new/part.json.filepart",
                "rename axxon/new/part.json.filepart axxon/new/part.json",
            ),
            "old": lambda: order(
                f"put {local()} axxon/new/old.json.filepart",
                "rename -l axxon/new/old.json.filepart axxon/new/old.json",
            ),
        }
        check_ways(gateway, ways)
        order("-rm axxon/sessions/*/*", f"-rmdir axxon/{gateway.session}", "-rmdir axxon")
        order(f"get -R axxon/sessions {got / 'before'}")
        gateway.remount()
        order(f"get -pR axxon/sessions {got / 'after'}")
        orders.close()
        assert process.wait(DEADLINE) == 0
    for path, (size, digest) in gateway.results.items():
        for copy in ("before", "after"):
            data = (got / copy / path.removeprefix("sessions/")).read_bytes()
            assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)


@contextmanager
def samba(machine: Machine) -> Iterator[None]:
    needed("smbd", "samba smbclient python3-samba")
    for folder in ("/var/lib/samba/private", "/var/log/samba", "/run/samba"):
        machine.path(folder).mkdir(parents=True, exist_ok=True)
    for command in commands("Samba").splitlines():
        machine.run(*command.split(), "-s", input=f"{PASSWORD}\n{PASSWORD}\n")
    with machine.serving("smbd", "--foreground", "--no-process-group", port=445):
        yield


def test_samba(gateway: Gateway) -> None:
    with (
        samba(gateway.machine),
        connected(gateway.machine, "smb", "127.0.0.1", "ana") as ana,
        connected(gateway.machine, "smb", "127.0.0.1", "ben") as ben,
    ):
        assert {"new", "sessions", "README.txt"} <= set(ana("names", "axxon"))
        ways = {
            "saved": lambda: ana("put", "axxon/new/saved.json", gateway.request()),
            "explorer": lambda: ana("put_as_explorer", "axxon/new/explorer.json", gateway.request()),
            "renamed": lambda: (
                ana("put", "axxon/new/~renamed.tmp", gateway.request()),
                ana("rename", "axxon/new/~renamed.tmp", "axxon/new/renamed.json"),
            ),
            "put": lambda: smbclient(gateway, "cd axxon/new; put {} put.json", gateway.request()),
        }
        check_ways(gateway, ways)
        # Times are set after the copy.
        smbclient(gateway, "utimes axxon/new/explorer.json -1 2026:05:11-12:00:00 2026:05:11-12:00:00 -1", "")
        with pytest.raises(Failed, match="parameter"):
            ana("put", "axxon/new/wrong.json", '{"archive": 1}')
        assert "wrong.json.error" in ana("names", "axxon/new")
        people = {
            line.split()[1]
            for line in gateway.machine.run("smbstatus", "-p").stdout.splitlines()
            if "SMB3" in line
        }
        assert people == {"ana", "ben"}
        refused(ben, "unlink", "axxon/new/saved.json")
        for path in gateway.results:
            refused(ana, "unlink", f"axxon/{path}")
        refused(ana, "rmdir", f"axxon/{gateway.session}")
        with ThreadPoolExecutor(2) as both:
            list(both.map(lambda client: check_ranges(gateway, client), (ana, ben)))
            before = gateway.exports()
            list(
                both.map(
                    lambda one: one[0]("put", f"axxon/new/{one[1]}.json", gateway.request()),
                    ((ana, "a"), (ben, "b")),
                )
            )
            assert gateway.exports() == before + 2
        gateway.remount()
        check_ranges(gateway, ana)
        before = gateway.exports()
        ben("put", "axxon/new/after.json", gateway.request())
        assert gateway.exports() == before + 1
        for path in ("axxon/sessions", "axxon"):
            refused(ana, "deltree", path)


def check_ranges(gateway: Gateway, client: Connected) -> None:
    for path, (size, digest) in gateway.results.items():
        for offset, length, expected in gateway.ranges(path):
            assert client("digest", f"axxon/{path}", offset, length) == expected
        assert client("digest", f"axxon/{path}", 0, size) == digest


def smbclient(gateway: Gateway, command: str, text: str) -> str:
    file = gateway.folder / "put.json"
    file.write_text(text)
    login = f"ana%{PASSWORD}"
    return gateway.machine.run(
        "smbclient", "//127.0.0.1/video", "-U", login, "-c", command.format(file)
    ).stdout


def check_ways(gateway: Gateway, ways: dict[str, Any]) -> None:
    """Each starts one export, which its link leads to, and belongs to ana."""
    new = gateway.machine.tree / "new"
    uid = int(gateway.machine.run("id", "-u", "ana").stdout)
    for number, (name, way) in enumerate(ways.items(), gateway.exports() + 1):
        way()
        link = new / name
        eventually(link.is_symlink)
        assert gateway.exports() == number, name
        assert os.readlink(link).startswith("../sessions/")
        assert (new / f"{name}.json").stat().st_uid == uid
        assert not (new / f"{name}.json.error").exists()


def test_http(gateway: Gateway) -> None:
    needed("nginx", "nginx-light")
    machine = gateway.machine
    certificates = make_certificates(gateway.folder, name="video.example.org")
    machine.write("/etc/nginx/video.pem", certificates.certificate_file.read_text())
    machine.write("/etc/nginx/video.key", certificates.key_file.read_text(), 0o600)
    machine.write("/etc/nginx/ca.pem", certificates.ca_file.read_text())
    hashed = machine.run("openssl", "passwd", "-6", PASSWORD).stdout
    machine.write("/etc/nginx/video.users", f"ana:{hashed}")
    machine.write("/etc/hosts", "127.0.0.1 localhost video.example.org\n")
    machine.path("/var/log/nginx").mkdir()
    machine.run("sh", "-e", input=commands("HTTP, for reading"))
    before = gateway.exports()
    with (
        machine.serving("nginx", "-g", "daemon off;", port=443),
        connected(machine, "http", "video.example.org", "ana") as ana,
        connected(machine, "http", "video.example.org", "nobody") as nobody,
    ):
        assert nobody("request", "GET", "/")[0] == 401
        for attempt in range(2):
            if attempt:
                gateway.remount()
            for path, (size, digest) in gateway.results.items():
                assert ana("request", "GET", f"/{path}") == [200, size, digest]
                for offset, length, expected in gateway.ranges(path):
                    got = ana("request", "GET", f"/{path}", f"bytes={offset}-{offset + length - 1}")
                    assert got == [206, length, expected]
                assert ana("request", "GET", f"/{path}", f"bytes={size}-")[0] == 416
            assert ana("request", "GET", "/sessions/")[0] == 200
            assert ana("request", "GET", "/")[1] > 1000
        for method in ("PUT", "DELETE", "POST", "MOVE", "PROPFIND", "MKCOL"):
            for path in ("/new/a.json", f"/{gateway.session}/", f"/{gateway.session}/.control"):
                assert ana("request", method, path)[0] in (403, 405)
        assert ana("request", "GET", "/new/")[0] == 403
    assert gateway.exports() == before


def test_webdav(gateway: Gateway) -> None:
    needed("rclone", "rclone")
    machine = gateway.machine
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign] # as systemd, which heeds case
    unit.read_string(machine.path("/etc/systemd/system/video-webdav@.service").read_text())
    service = unit["Service"]
    assert service["User"] == "%i"
    hashed = machine.run("openssl", "passwd", "-apr1", PASSWORD).stdout
    machine.write("/etc/video-webdav.users", f"ana:{hashed}")
    as_ana = ("setpriv", "--reuid=ana", "--regid=ana", "--init-groups", "env", service["Environment"])
    url = "http://127.0.0.1:8081"
    curl = ("curl", "-sS", "-u", f"ana:{PASSWORD}", "-w", "\n%{http_code}")

    def call(*words: object, **options: Any) -> int:
        return int(machine.run(*curl, *words, **options).stdout.rpartition("\n")[2])

    def put(name: str, text: str) -> int:
        return call("-T", "-", f"{url}/new/{name}", input=text)

    def put_and_move() -> None:
        assert put("moved.tmp", gateway.request()) == 201
        assert call("-X", "MOVE", "-H", f"Destination: {url}/new/moved.json", f"{url}/new/moved.tmp") == 201

    file = gateway.folder / "out"
    with machine.serving(*as_ana, *service["ExecStart"].split(), port=8081):
        check_ways(
            gateway, {"uploaded": lambda: put("uploaded.json", gateway.request()), "moved": put_and_move}
        )
        assert put("wrong-dav.json", '{"archive": 1}') == 405
        for path in (*gateway.results, gateway.session, "sessions", ""):
            assert call("-X", "DELETE", f"{url}/{path}") == 405
        for attempt in range(2):
            if attempt:
                gateway.remount()
            for path, (size, digest) in gateway.results.items():
                # rclone takes what it could not delete for gone, until it lists again.
                eventually(lambda path=path: call("-o", file, f"{url}/{path}") == 200)
                data = file.read_bytes()
                assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)
                for offset, length, expected in gateway.ranges(path):
                    assert call("-o", file, "-r", f"{offset}-{offset + length - 1}", f"{url}/{path}") == 206
                    assert hashlib.sha256(file.read_bytes()).hexdigest() == expected


def test_nfs(gateway: Gateway) -> None:
    needed("ganesha.nfsd", "nfs-ganesha nfs-ganesha-vfs")
    needed("nfs-cp", "libnfs-utils")
    machine = gateway.machine
    for folder in ("/run/rpcbind", "/run/ganesha", "/var/lib/nfs/ganesha"):
        machine.path(folder).mkdir(parents=True, exist_ok=True)
    uid = machine.run("id", "-u", "ana").stdout.strip()
    gid = machine.run("sh", "-c", "getent group analysts | cut -d: -f3").stdout.strip()

    def url(path: str) -> str:
        return f"nfs://127.0.0.1/axxon/{path}?version=4&uid={uid}&gid={gid}"

    def copy_to(name: str) -> None:
        file = gateway.folder / "request.json"
        file.write_text(gateway.request())
        machine.run("nfs-cp", file, url(f"new/{name}.json"))

    config = machine.path("/etc/ganesha/ganesha.conf")
    if b"Allow_Set_Io_Flusher_Fail" in Path("/usr/lib/ganesha/libganesha_nfsd.so").read_bytes():
        # Since 6 it asks the kernel for what root may on a machine, and not in most containers.
        config.write_text(config.read_text().replace("{", "{\n    Allow_Set_Io_Flusher_Fail = true;", 1))
    with machine.serving("rpcbind", "-f", "-w", port=111):
        for attempt in ("first", "second"):
            if attempt == "second":
                gateway.remount()
            with machine.serving("ganesha.nfsd", "-F", "-L", "/dev/stdout", port=2049):
                listed = machine.run("nfs-ls", url("")).stdout
                assert {"new", "sessions", "README.txt"} <= set(listed.split())
                for path, (size, digest) in gateway.results.items():
                    data = machine.run("nfs-cat", url(path), text=False).stdout
                    assert (len(data), hashlib.sha256(data).hexdigest()) == (size, digest)  # type: ignore[arg-type] # bytes: no text
                check_ways(gateway, {f"nfs-{attempt}": lambda name=f"nfs-{attempt}": copy_to(name)})
