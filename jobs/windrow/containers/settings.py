"""What docker/compose.yaml is told of this machine: secrets that are made once, and what pip is told here.

Standard library only: it runs where nothing but Docker and a Python is.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from windrow.files import replacing

_HEADER = "# Secrets of this machine's stack, made by make up. Settings of compose.yaml can be added.\n"


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS: Mapping[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(18),
    "AIRFLOW_PASSWORD": lambda: secrets.token_urlsafe(9),
    "AIRFLOW_FERNET_KEY": _fernet_key,
    "AIRFLOW_SECRET_KEY": lambda: secrets.token_urlsafe(32),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(48),
}
"""Each secret, and how one is made."""


def read(file: Path) -> dict[str, str]:
    """NAME=VALUE lines; none if there is no such file."""
    lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): value.strip() for name, _, value in pairs}


def complete(file: Path) -> dict[str, str]:
    """Add the secrets that the file lacks, readable by this user only; what it says then.

    What is there stays: the database's volume was made with that password.
    """
    known = read(file)
    missing = {name: make() for name, make in SECRETS.items() if not known.get(name)}
    if missing:
        text = file.read_text(encoding="utf-8") if file.exists() else _HEADER
        lines = [text.rstrip("\n"), *(f"{name}={value}" for name, value in missing.items())]
        with replacing(file) as part:
            part.touch(0o600, exist_ok=False)  # private before there is a secret in it
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return known | missing


def pip_conf(variables: Mapping[str, str]) -> str:
    """A pip.conf with what PIP_* variables say of registries; what names files of this machine is left out."""
    lines = ["[global]"]
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "TRUSTED_HOST", "DEFAULT_TIMEOUT", "RETRIES"):
        values = [value for value in variables.get(f"PIP_{name}", "").split() if urlsplit(value).scheme != "file"]
        if values:
            lines.append(f"{name.lower().replace('_', '-')} = {' '.join(values)}")
    return "\n".join(lines) + "\n"
