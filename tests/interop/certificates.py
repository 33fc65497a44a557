"""A certificate authority for tests, made by openssl."""

from __future__ import annotations

import ipaddress
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


class Certificate(NamedTuple):
    certificate: Path
    key: Path


class Authority:
    """An authority in a directory; clients trust the file `ca`."""

    def __init__(self, directory: Path, name: str = "hbd test authority") -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.ca, self._key = directory / "ca.pem", directory / "ca.key"
        _openssl(
            "req", "-x509", *EC, "-days", "2", "-subj", f"/CN={name}",
            "-keyout", self._key, "-out", self.ca,
        )  # fmt: skip

    def issue(self, *names: str, days: int = 1) -> Certificate:
        """Make a certificate for these names and addresses; negative days: it has expired."""
        stem = self.directory / f"{names[0]}.{days}".replace(":", "_")
        request, made = _add(stem, "csr"), Certificate(_add(stem, "pem"), _add(stem, "key"))
        extension = _add(stem, "ext")
        extension.write_text(f"subjectAltName={','.join(map(_alternative, names))}\n")
        _openssl(
            "req", *EC, "-subj", f"/CN={names[0]}", "-keyout", made.key, "-out", request,
        )  # fmt: skip
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.ca, "-CAkey", self._key,
            "-CAcreateserial", "-days", str(days), "-extfile", extension,
            "-out", made.certificate,
        )  # fmt: skip
        return made


def _add(stem: Path, ending: str) -> Path:
    return stem.with_name(f"{stem.name}.{ending}")


def _alternative(name: str) -> str:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return f"DNS:{name}"
    return f"IP:{name}"


def _openssl(*words: object) -> None:
    done = subprocess.run(
        ["openssl", *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
