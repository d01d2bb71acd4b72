"""Detached signatures, by `ssh-keygen -Y sign` or `gpg`, whichever the key is of."""

import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from exportfs.client.manifest import GPG_SIGNATURE, SSH_SIGNATURE, who
from exportfs.errors import InvalidArgument, Unsupported
from exportfs.pages.report import SignatureView

NAMESPACE = "file"
"""Of ssh signatures: what ssh-keygen(1) recommends for files."""


@dataclass(frozen=True, slots=True)
class Signer:
    """A key that can sign."""

    kind: str
    """`ssh` or `gpg`."""
    key: str
    """For ssh-keygen the path, for gpg the fingerprint."""
    fingerprint: str
    identity: str
    """Who signs, as it stands in an `allowed_signers` file; nothing in it means something to a shell."""
    public_key: str | None = None
    """A line of an ssh key: type and base64."""

    @property
    def file(self) -> str:
        """Name of the signature."""
        return SSH_SIGNATURE if self.kind == "ssh" else GPG_SIGNATURE

    def view(self) -> SignatureView:
        """For the report."""
        return SignatureView(self.kind, self.file, self.fingerprint, self.identity, self.public_key)

    def sign(self, data: bytes) -> bytes:
        """The signature of this, verified. InvalidArgument where there is none."""
        if self.kind == "ssh":
            words = ["ssh-keygen", "-q", "-Y", "sign", "-f", self.key, "-n", NAMESPACE]
        else:
            words = ["gpg", "--armor", "--detach-sign", "--local-user", self.fingerprint, "--output", "-"]
        made = _run(words, data)
        if made.returncode != 0 or not made.stdout:
            raise InvalidArgument(f"not signed: {_said(made)}")
        self._verify(data, made.stdout)
        return made.stdout

    def _verify(self, data: bytes, signature: bytes) -> None:
        with tempfile.TemporaryDirectory() as folder:
            detached = Path(folder, "signature")
            detached.write_bytes(signature)
            if self.kind == "ssh":
                allowed = Path(folder, "allowed")
                allowed.write_text(f'{self.identity} namespaces="{NAMESPACE}" {self.public_key}\n')
                words = ["ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", self.identity]
                words += ["-n", NAMESPACE, "-s", str(detached)]
            else:
                words = ["gpg", "--batch", "--verify", str(detached), "-"]
            done = _run(words, data)
        if done.returncode != 0:
            raise InvalidArgument(f"not signed: the signature does not verify: {_said(done)}")


def find_signer(key: str) -> Signer:
    """The signer of a key: the path of an ssh key, or what gpg knows a secret key by.

    InvalidArgument where it is neither; Unsupported where the program for it is missing.
    """
    identity = re.sub(r"[^A-Za-z0-9@._-]", "_", "@".join(who().values()))
    if os.path.lexists(key):
        return _ssh(key, identity)
    if key.startswith("-") or not key:
        raise InvalidArgument(
            f"{key!r} is not a key: give the path of an SSH key, or the id of an OpenPGP key"
        )
    listed = _run(["gpg", "--batch", "--with-colons", "--list-secret-keys", "--", key])
    found = re.search(rb"^fpr:::::::::([0-9A-F]+):", listed.stdout, re.MULTILINE)
    if listed.returncode != 0 or found is None:
        raise InvalidArgument(
            f"{key}: there is neither such a file (an SSH key), nor does gpg know a secret key of this name"
        )
    fingerprint = found[1].decode()
    return Signer("gpg", fingerprint, fingerprint, identity)


def _ssh(key: str, identity: str) -> Signer:
    path = os.path.abspath(key)
    shown = _run(["ssh-keygen", "-l", "-f", path])
    fingerprint = re.search(rb"(SHA256:[A-Za-z0-9+/]+)", shown.stdout)
    if shown.returncode != 0 or fingerprint is None:
        raise InvalidArgument(f"{key}: not an SSH key: {_said(shown)}; for an OpenPGP key give its id")
    public = path if path.endswith(".pub") else f"{path}.pub"
    if os.path.exists(public):
        line = Path(public).read_text(errors="replace")
    else:
        line = _run(["ssh-keygen", "-y", "-f", path]).stdout.decode(errors="replace")
    parts = line.split()
    if len(parts) < 2:
        raise InvalidArgument(f"{key}: its public key cannot be read: put it beside it, as {public}")
    return Signer("ssh", path, fingerprint[1].decode(), identity, " ".join(parts[:2]))


def _run(words: Sequence[str], data: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    """Passphrases are asked for on the terminal, by whoever needs one."""
    try:
        return subprocess.run(words, capture_output=True, check=False, input=data or b"")
    except FileNotFoundError:
        package = {"gpg": "gnupg", "ssh-keygen": "openssh-client"}[words[0]]
        raise Unsupported(f"{words[0]} is missing: install {package}") from None


def _said(done: "subprocess.CompletedProcess[bytes]") -> str:
    """The last line of what a program complained of."""
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else f"it ended with {done.returncode}"
