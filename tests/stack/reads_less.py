"""Airflow's own simple auth manager, but that the user `stranger` may read nothing of what is named hostile."""

from __future__ import annotations

from typing import Any

from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager


class ReadsLess(SimpleAuthManager):
    def is_authorized_dag(self, *, user: Any, details: Any = None, **asked: Any) -> bool:
        hidden = user.get_name() == "stranger" and (details is None or str(details.id).endswith("hostile"))
        return not hidden and super().is_authorized_dag(user=user, details=details, **asked)
