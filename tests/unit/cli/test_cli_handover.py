"""`copy`'s folders as they are handed over: report, index, bags and signatures, checked with what recipients have."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.small_files import CONTENT
from tests.unit.cli.test_cli_copy import check_sums, visible
from tests.unit.pages.parsing import check_harmless, links, parse, path_of, text_of

HARD = "50% #1 of 2 'a' & b.mp4"
WARNING = "the results hold 5 min of the 10 min asked for (50 %)"
COVERAGE = {
    "asked": {"begin": "2026-05-11T08:04:11Z", "end": "2026-05-11T08:14:11Z"},
    "results": {"begin": "2026-05-11T08:04:11Z", "end": "2026-05-11T08:09:11Z"},
    "share": 0.5,
    "gaps": [{"begin": "2026-05-11T08:09:11Z", "end": "2026-05-11T08:14:11Z"}],
    "warnings": [WARNING],
    "note": None,
}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def report_of(folder: Path) -> tuple[Any, str]:
    """The parsed report, and its text with single spaces."""
    root = parse((folder / "report.html").read_bytes())
    check_harmless(root)
    return root, " ".join(text_of(root).split())


def command_after(root: Any, heading: str) -> str:
    """The command that the report has below this heading."""
    elements = list(root.iter())
    place = next(n for n, element in enumerate(elements) if (element.text or "").strip() == heading)
    return next("".join(e.itertext()) for e in elements[place:] if e.tag == "pre")


def shell(command: str, folder: Path, *, code: int = 0) -> str:
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.promise("G6")
def test_report(run: Any, mount: Any, out: Path) -> None:
    origin, agent = "hosts/S/DeviceIpint.1/SourceEndpoint.video:0:0", "hosts/S/MMExportAgent.1/Exporter"
    options = {"archive": {"sources": [{"origin": origin}]}, "exportAgentAccessPoint": agent}
    session = mount.session(
        "a", files={HARD: CONTENT}, options=options, cameras=["1.Gate north"], coverage=COVERAGE
    )
    assert run("copy", session, out).exit_code == 3
    folder = out / "a"
    root, text = report_of(folder)
    for said in (
        *(
            "vms:20109",
            "1.Gate north",
            origin,
            agent,
        ),
        *(
            "2026-05-11 08:04:11 UTC",
            "10240 bytes",
            "video/mp4",
            "10s",
            "hosts/Server/a",
            "5 min of the 10 min",
        ),
        json.loads((folder / "manifest.json").read_text())["files"][0]["sha256"],
    ):
        assert said in text, said
    for tag, link in links(root):
        assert (folder / os.fsdecode(path_of(link))).is_file(), (tag, link)
    assert "report.html: OK" in check_sums(folder)
    assert "FAILED" not in shell(command_after(root, "Linux"), folder)
    (folder / HARD).write_bytes(CONTENT[:-1] + b"x")
    assert f"{HARD}: FAILED" in shell(command_after(root, "Linux"), folder, code=1)


@pytest.mark.promise("G6")
def test_what_was_not_copied_comes_first(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b"b"})
    (session / "b.mp4").unlink()
    assert run("copy", session, out).exit_code == 1
    root, text = report_of(out / "a")
    assert "".join(next(root.iter("h2")).itertext()) == "Not copied: 1 file"
    assert "b.mp4" in text
    # Once it is there the report says so.
    (session / "b.mp4").write_bytes(b"b")
    assert run("copy", session, out).exit_code == 0
    assert "Not copied" not in report_of(out / "a")[1]
    check_sums(out / "a")


@pytest.mark.promise("G6")
def test_while_copying_there_is_no_report(
    run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that all is there must not stand beside what is not."""
    session = mount.session("a", files={"a.mp4": CONTENT})
    run("copy", session, out)
    (out / "a" / "a.mp4").unlink()

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("exportfs.client.copy_session.copy_result", killed)
        assert run("copy", session, out).exit_code == 130
    assert "report.html" not in visible(out / "a")
    assert check_sums(out / "a") == "manifest.json: OK\n"


def test_a_strangers_report_is_set_aside(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"report.html": b"theirs"})
    (out / "a").mkdir(parents=True)
    (out / "a" / "report.html").write_bytes(b"a stranger's")
    result = run("copy", session, out)
    assert result.exit_code == 0
    assert "is not from axxon-exportfs" in result.stderr
    assert (out / "a" / "report.html.other1").read_bytes() == b"a stranger's"
    assert (out / "a" / "report~2.html").read_bytes() == b"theirs"
    check_sums(out / "a")


@pytest.mark.promise("G6")
def test_index_over_several(run: Any, mount: Any, out: Path) -> None:
    a = mount.session("a #1", files={"a.mp4": CONTENT}, cameras=["1.Gate"])
    assert run("copy", a, out).exit_code == 0
    assert not (out / "index.html").exists()
    b = mount.session("b", files={"b.mp4": b"b"}, cameras=["2.Yard"], coverage=COVERAGE)
    assert run("copy", b, out, "--bagit").exit_code == 3
    root = parse((out / "index.html").read_bytes())
    check_harmless(root)
    text = " ".join(text_of(root).split())
    assert "2 exports" in text
    assert "1.Gate" in text
    assert WARNING in text
    targets = [path_of(link).decode() for _, link in links(root)]
    assert targets == ["a #1/report.html", "b/data/report.html"]
    assert all((out / target).is_file() for target in targets)
    (out / "index.html").write_text("somebody's own")
    result = run("copy", a, b, out / ".." / "out", "--bagit")
    assert "choose another DEST" in result.stderr  # a is not a bag
    assert "is not from axxon-exportfs and stays" in result.stderr
    assert (out / "index.html").read_text() == "somebody's own"


@pytest.mark.slow
def test_a_folder_of_300_files(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={f"{number:03}.jpg": b"%d" % number for number in range(300)})
    assert run("copy", session, out).exit_code == 0
    root, _ = report_of(out / "a")
    assert len(list(root.iter("img"))) == 300
    assert (out / "a" / "report.html").stat().st_size < 1 << 20


# Bags.


def validated(bag: Path, *, code: int = 0) -> str:
    """What `bagit.py --validate` says."""
    program = Path(sys.executable).parent / "bagit.py"
    done = subprocess.run([program, "--validate", bag], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    return done.stderr


@pytest.mark.promise("G7")
def test_bag(run: Any, mount: Any, out: Path) -> None:
    session = mount.session(
        "a", files={HARD: CONTENT, "line\nbreak.mp4": b"", "ü.mp4": b"u"}, id="one\ntwo: three"
    )
    result = run("copy", session, out, "--bagit")
    assert (result.exit_code, result.stdout) == (0, f"{out}/a\n"), result.stderr
    bag = out / "a"
    assert visible(bag) == [
        "bag-info.txt",
        "bagit.txt",
        "data",
        "manifest-sha256.txt",
        "tagmanifest-sha256.txt",
    ]
    assert (bag / "data" / HARD.replace("%", "_")).read_bytes() == CONTENT
    check_sums(bag / "data")
    assert "is valid" in validated(bag)
    assert "External-Identifier: one two: three\n" in (bag / "bag-info.txt").read_text()
    assert "BagIt" in report_of(bag / "data")[1]
    # Again: nothing is copied, and it is still a bag.
    (answer,) = json.loads(run("copy", session, out, "--bagit", "--json").stdout)
    assert (answer["copied"], len(answer["verified"])) == ([], 3)
    validated(bag)
    (bag / "data" / "ü.mp4").write_bytes(b"U")
    assert "ü.mp4 sha256 validation failed" in validated(bag, code=1)
    # What is set aside is in the bag, too.
    assert run("copy", session, out, "--bagit").exit_code == 0
    assert (bag / "data" / "ü.mp4.other1").read_bytes() == b"U"
    validated(bag)


@pytest.mark.promise("G7")
def test_bag_that_was_cut_off_goes_on(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b"b"})
    (session / "a.mp4").write_bytes(CONTENT[:-1])
    assert run("copy", session, out, "--bagit").exit_code == 1
    validated(out / "a")
    (session / "a.mp4").write_bytes(CONTENT)
    assert run("copy", session, out, "--bagit").exit_code == 0
    assert visible(out / "a" / "data") == ["SHA256SUMS", "a.mp4", "b.mp4", "manifest.json", "report.html"]
    validated(out / "a")


@pytest.mark.promise("G7")
def test_a_bag_and_a_plain_copy_are_not_mixed(run: Any, mount: Any, out: Path) -> None:
    a, b = mount.session("a", files={"a.mp4": b"a"}), mount.session("b", files={"b.mp4": b"b"})
    run("copy", a, out)
    run("copy", b, out, "--bagit")
    first = run("copy", a, out, "--bagit")
    assert (first.exit_code, "not a bag" in first.stderr) == (1, True)
    second = run("copy", b, out)
    assert (second.exit_code, "repeat with --bagit" in second.stderr) == (1, True)


# Signatures.


@pytest.fixture
def ssh_key(tmp_path: Path) -> Path:
    key = tmp_path / "id key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "x", "-f", key], check=True)
    return key


@pytest.fixture
def gpg_key(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The id of a key in a keyring of the test's own; the agent's socket needs a short path."""
    home = tempfile.mkdtemp(prefix="gpg-", dir="/tmp")
    os.chmod(home, 0o700)
    monkeypatch.setenv("GNUPGHOME", home)
    quick = ["gpg", "--batch", "--quiet", "--passphrase", "", "--quick-generate-key"]
    subprocess.run([*quick, "Evidence <e@example.org>", "ed25519", "sign"], check=True, capture_output=True)
    yield "e@example.org"
    subprocess.run(["gpgconf", "--kill", "all"], check=True)
    shutil.rmtree(home)


@pytest.mark.promise("G8")
@pytest.mark.parametrize("public_beside", [True, False])
def test_ssh_signature(run: Any, mount: Any, out: Path, ssh_key: Path, public_beside: bool) -> None:
    if not public_beside:
        Path(f"{ssh_key}.pub").unlink()
    session = mount.session("a", files={"a.mp4": CONTENT})
    assert run("copy", session, out, "--sign", ssh_key).exit_code == 0
    folder = out / "a"
    root, text = report_of(folder)
    listed = subprocess.run(["ssh-keygen", "-l", "-f", ssh_key], check=True, capture_output=True, text=True)
    assert listed.stdout.split()[1] in text
    lines = ["".join(pre.itertext()) for pre in root.iter("pre")]
    (allowed,) = [line for line in lines if "namespaces=" in line]
    (verify,) = [line for line in lines if line.startswith("ssh-keygen -Y verify")]
    (folder / "allowed_signers").write_text(f"{allowed}\n")
    assert "Good" in shell(verify, folder)
    check_sums(folder)
    sums = folder / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"a.mp4", b"b.mp4"))
    shell(verify, folder, code=255)


@pytest.mark.promise("G8")
def test_gpg_signature_in_a_bag(run: Any, mount: Any, out: Path, gpg_key: str) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    result = run("copy", session, out, "--bagit", "--sign", gpg_key)
    assert result.exit_code == 0, result.stderr
    folder = out / "a" / "data"
    root, _ = report_of(folder)
    (verify,) = [t for pre in root.iter("pre") if (t := "".join(pre.itertext())).startswith("gpg")]
    assert "Good signature" in shell(verify, folder)
    validated(out / "a")
    sums = folder / "SHA256SUMS"
    sums.write_bytes(sums.read_bytes().replace(b"a.mp4", b"b.mp4"))
    assert "BAD signature" in shell(verify, folder, code=1)


@pytest.mark.promise("G8")
def test_a_signature_of_what_was_before_does_not_stay(run: Any, mount: Any, out: Path, ssh_key: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    run("copy", session, out, "--sign", ssh_key)
    result = run("copy", session, out)
    assert result.exit_code == 0
    assert "signs what the folder held before" in result.stderr
    assert "SHA256SUMS.sig" not in visible(out / "a")
    assert "SHA256SUMS.sig" not in report_of(out / "a")[1]
    assert run("copy", session, out, "--sign", ssh_key).exit_code == 0
    assert "SHA256SUMS.sig" in visible(out / "a")


@pytest.mark.promise("G8")
def test_keys_that_cannot_sign(
    run: Any, mount: Any, out: Path, ssh_key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    monkeypatch.setenv("GNUPGHOME", str(tmp_path))
    (tmp_path / "no key").write_text("text")
    for key in (tmp_path / "no key", tmp_path / "nothing there", "nobody@example.org", "-x", ""):
        result = run("copy", session, out, f"--sign={key}")
        assert result.exit_code == 2, key
        assert not out.exists()
    # A key that is found and cannot sign: all is copied, nothing says that it is signed, and the exit code is 1.
    ssh_key.unlink()
    result = run("copy", session, out, "--sign", f"{ssh_key}.pub")
    assert result.exit_code == 1
    assert "not signed" in result.stderr
    check_sums(out / "a")
    assert "SHA256SUMS.sig" not in report_of(out / "a")[1]
