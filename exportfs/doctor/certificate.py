"""What a certificate says, as `ssl` takes it apart."""

from typing import Any


def names(certificate: dict[str, Any]) -> list[str]:
    """All that it is for; the common name only where there is no other."""
    others = [str(value) for kind, value in certificate.get("subjectAltName", ())]
    return others or _common_names(certificate.get("subject", ()))


def issuer(certificate: dict[str, Any]) -> str:
    """Who signed it."""
    return ", ".join(_common_names(certificate.get("issuer", ())))


def _common_names(parts: Any) -> list[str]:
    return [str(value) for part in parts for key, value in part if key == "commonName"]


def described(certificate: Any) -> str:
    """For people, in a few words."""
    facts = dict(certificate or {})
    return (
        f"a certificate for {', '.join(names(facts)) or 'nobody'}, valid until {facts.get('notAfter', '?')}"
    )
