"""Make the settings of docker/compose.yaml for this machine: secrets (made once) and pip's configuration.

This module uses only the standard library, because the machine may have only Docker and Python.
"""

from __future__ import annotations

import base64
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from windrow import text_files
from windrow.files import replacing

_HEADER = "# Secrets of this machine's stack, made by make up. Settings of compose.yaml can be added.\n"
_QUOTED = re.compile(r"""(["'])((?:\\.|(?!\1).)*)\1""")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


def _fernet_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


SECRETS: Mapping[str, Callable[[], str]] = {
    "POSTGRES_PASSWORD": lambda: secrets.token_urlsafe(18),
    "AIRFLOW_PASSWORD": lambda: secrets.token_urlsafe(9),
    "AIRFLOW_FERNET_KEY": _fernet_key,
    "AIRFLOW_SECRET_KEY": lambda: secrets.token_urlsafe(32),
    "AIRFLOW_JWT_SECRET": lambda: secrets.token_urlsafe(48),
}
"""Name of each secret → function that makes it."""


def read(file: Path) -> dict[str, str]:
    """Return name → value from a file of NAME=VALUE lines; empty if the file does not exist.

    As Docker Compose reads them: a value may be in quotes, and a comment begins with # after a space.
    """
    lines = text_files.lines(text_files.read(file)) if file.exists() else []
    pairs = (line.partition("=") for line in lines if "=" in line and not line.lstrip().startswith("#"))
    return {name.strip(): _value(text.strip()) for name, _, text in pairs}


def _value(text: str) -> str:
    """Return a value without its quotes, or without a comment if it has none."""
    if quoted := _QUOTED.match(text):
        inside = quoted[2]
        return inside if quoted[1] == "'" else re.sub(r"\\(.)", lambda found: _ESCAPES.get(found[1], found[1]), inside)
    return text.partition(" #")[0].rstrip()


def complete(file: Path) -> dict[str, str]:
    """Add missing secrets to a file of settings, which only this user can then read; return all values of the file.

    Existing secrets stay as they are: the database's volume was made with the existing password.
    """
    known = read(file)
    missing = {name: make() for name, make in SECRETS.items() if not known.get(name)}
    if missing:
        text = text_files.read(file) if file.exists() else _HEADER
        lines = [text.rstrip("\n"), *(f"{name}={value}" for name, value in missing.items())]
        with replacing(file) as part:
            part.touch(0o600, exist_ok=False)  # private before the secrets are written
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return known | missing


def pip_conf(variables: Mapping[str, str]) -> str:
    """Return the text of a pip.conf with the registries in the PIP_* variables, but without file:// addresses."""
    lines = ["[global]"]
    for name in ("INDEX_URL", "EXTRA_INDEX_URL", "TRUSTED_HOST", "DEFAULT_TIMEOUT", "RETRIES"):
        values = [value for value in variables.get(f"PIP_{name}", "").split() if urlsplit(value).scheme != "file"]
        if values:
            lines.append(f"{name.lower().replace('_', '-')} = {' '.join(values)}")
    return "\n".join(lines) + "\n"
