"""Clients that stay connected and do one thing after the other: `clients.py smb HOST USER PASSWORD` or `clients.py http
HOST USER PASSWORD`. Each line of standard input is a JSON list, a method and its arguments; each line of standard
output the answer, {"value": ...} or {"error": ...}.

Run by Debian's own Python, which has Samba's bindings, so nothing of the project can be imported.
"""

import hashlib
import json
import sys
from typing import Any


class Smb:
    """What Windows programs do, on Samba's own client library."""

    def __init__(self, host: str, user: str, password: str) -> None:
        from samba.credentials import Credentials
        from samba.samba3 import libsmb_samba_internal as libsmb
        from samba.samba3 import param

        settings = param.get_context()
        settings.load("/etc/samba/smb.conf")
        credentials = Credentials()
        credentials.guess(settings)
        credentials.set_username(user)
        credentials.set_password(password)
        self._share = libsmb.Conn(host, "video", lp=settings, creds=credentials)

    def names(self, path: str) -> list[str]:
        return sorted(entry["name"] for entry in self._share.list(_dos(path)))

    def digest(self, path: str, offset: int, length: int) -> str:
        """Of a range, in hexadecimal."""
        file = self._share.create(_dos(path), DesiredAccess=0x120089, ShareAccess=7)
        digest = hashlib.sha256()
        while length > 0:
            data = self._share.read(file, offset, min(length, 1 << 16))
            if not data:
                break
            digest.update(data)
            offset, length = offset + len(data), length - len(data)
        self._share.close(file)
        return digest.hexdigest()

    def put(self, path: str, text: str) -> None:
        """As a program saves: created or emptied, written, closed."""
        self._share.savefile(_dos(path), text.encode())

    def put_as_explorer(self, path: str, text: str) -> None:
        """As Explorer copies: created, brought to its size, written in pieces, closed."""
        data = text.encode()
        file = self._share.create(
            _dos(path), DesiredAccess=0x12019F, ShareAccess=1, CreateDisposition=2, CreateOptions=0x44
        )
        self._share.write(file, b"\0", len(data) - 1)
        for start in range(0, len(data), 100):
            self._share.write(file, data[start : start + 100], start)
        self._share.close(file)

    def rename(self, old: str, new: str) -> None:
        self._share.rename(_dos(old), _dos(new))

    def unlink(self, path: str) -> None:
        self._share.unlink(_dos(path))

    def rmdir(self, path: str) -> None:
        self._share.rmdir(_dos(path))

    def deltree(self, path: str) -> None:
        self._share.deltree(_dos(path))


class Http:
    """One connection, kept."""

    def __init__(self, host: str, user: str, password: str) -> None:
        import base64
        import http.client
        import ssl

        context = ssl.create_default_context(cafile="/etc/nginx/ca.pem")
        self._connection = http.client.HTTPSConnection(host, context=context, timeout=20)
        self._login = "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()

    def request(self, method: str, path: str, header: str = "") -> list[Any]:
        """Status, length of the body in bytes, and its digest."""
        headers = {"Authorization": self._login} if self._login else {}
        if header:
            headers["Range"] = header
        self._connection.request(method, path, headers=headers)
        response = self._connection.getresponse()
        body = response.read()
        return [response.status, len(body), hashlib.sha256(body).hexdigest()]


def _dos(path: str) -> str:
    return path.replace("/", "\\")


def main() -> None:
    client = {"smb": Smb, "http": Http}[sys.argv[1]](*sys.argv[2:])
    print('"ready"', flush=True)
    for line in sys.stdin:
        method, *arguments = json.loads(line)
        try:
            answer = {"value": getattr(client, method)(*arguments)}
        except Exception as error:
            answer = {"error": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
