"""Secrets are made once and stay; pip is told of registries, and of no file that a container can't see."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

from windrow.containers import settings


def test_every_secret_is_made_and_only_this_user_may_read_them(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    made = settings.complete(file)
    assert set(made) == set(settings.SECRETS)
    assert all(len(secret) >= 12 for secret in made.values())
    assert len(base64.urlsafe_b64decode(made["AIRFLOW_FERNET_KEY"])) == 32
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_no_two_machines_have_the_same_secrets(tmp_path: Path) -> None:
    one, other = settings.complete(tmp_path / "one"), settings.complete(tmp_path / "other")
    assert not set(one.values()) & set(other.values())


def test_a_second_call_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    made, text = settings.complete(file), file.read_text()
    assert settings.complete(file) == made
    assert file.read_text() == text


def test_what_a_user_wrote_stays_and_what_is_missing_is_added(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("# mine\nSPARK_WORKERS=4\nPOSTGRES_PASSWORD=chosen\nAIRFLOW_PASSWORD=\n")
    made = settings.complete(file)
    assert file.read_text().startswith("# mine\nSPARK_WORKERS=4\nPOSTGRES_PASSWORD=chosen\n")
    assert (made["SPARK_WORKERS"], made["POSTGRES_PASSWORD"]) == ("4", "chosen")
    assert settings.read(file) == made
    assert all(made[name] for name in settings.SECRETS)


def test_a_file_that_does_not_end_its_last_line_loses_no_setting(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("SPARK_WORKERS=4")
    settings.complete(file)
    assert settings.read(file)["SPARK_WORKERS"] == "4"


def test_values_are_read_as_compose_reads_them(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "ONE=\"two words\"\nTWO='a \\\\ and # here'  # a comment\nTHREE=plain # a comment\nFOUR=a#b\n"
        'FIVE="a \\"word\\" \\\\"\nSIX=""\nSEVEN="left open\nEIGHT=it\'s\n'
    )
    assert settings.read(file) == {
        **{"ONE": "two words", "TWO": "a \\\\ and # here", "THREE": "plain", "FOUR": "a#b", "FIVE": 'a "word" \\'},
        **{"SIX": "", "SEVEN": '"left open', "EIGHT": "it's"},
    }
    file.write_text("POSTGRES_PASSWORD='chosen'\nAIRFLOW_PASSWORD=\"\"\n")
    made = settings.complete(file)
    assert (made["POSTGRES_PASSWORD"], len(made["AIRFLOW_PASSWORD"]) >= 12) == ("chosen", True)


def test_pip_is_told_of_the_registry_that_this_machine_uses() -> None:
    told = settings.pip_conf(
        {
            "PIP_INDEX_URL": "https://registry.example/simple",
            "PIP_EXTRA_INDEX_URL": "file:///srv/packages https://more.example/simple",
            "PIP_FIND_LINKS": "/srv/wheels",
            "PIP_CERT": "/etc/ssl/cert.pem",
            "PIP_DEFAULT_TIMEOUT": "60",
        }
    )
    assert told.splitlines() == [
        "[global]",
        "index-url = https://registry.example/simple",
        "extra-index-url = https://more.example/simple",
        "default-timeout = 60",
    ]


def test_without_settings_pip_is_told_nothing() -> None:
    assert settings.pip_conf({"HOME": "/root"}) == "[global]\n"
