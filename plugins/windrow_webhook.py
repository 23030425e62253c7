"""Send a page's alerts with Airflow's own web hook, and keep the hook's address out of the logs.

Addresses of Slack and similar services contain the secret, and Airflow logs the address if the hook can't be reached.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.http.notifications.http import HttpNotifier
from airflow.sdk.log import amask_secret, mask_secret


class WebHook(HttpNotifier):  # type: ignore[misc]  # Airflow is not typed strictly
    """Posts JSON to the address in a connection of type http."""

    def notify(self, context: Any) -> None:
        """Send the alert from a task."""
        for secret in _secrets(self.hook.get_connection(self.http_conn_id)):
            mask_secret(secret)
        super().notify(context)

    async def async_notify(self, context: Any) -> None:
        """Send the alert from the triggerer."""
        for secret in _secrets(await get_async_connection(conn_id=self.http_conn_id)):
            await amask_secret(secret)
        await super().async_notify(context)


def _secrets(connection: Any) -> list[str]:
    """Return the parts that logs must show as ***: the address's path and query."""
    host = connection.host or ""
    address = urlsplit(host if "://" in host else f"//{host}")
    return [part for part in (address.path.strip("/"), address.query) if part]
