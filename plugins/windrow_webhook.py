"""The web hook that a page's alerts go to: Airflow's own, whose address stays out of the logs.

Slack's and its like have the secret in the address, which Airflow quotes in the log where a hook is away or refuses.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.http.notifications.http import HttpNotifier
from airflow.sdk.log import amask_secret, mask_secret


class WebHook(HttpNotifier):  # type: ignore[misc]  # Airflow is not typed strictly
    """Posts JSON to the address of a connection of type http."""

    def notify(self, context: Any) -> None:
        """Tell, from a task."""
        for secret in _secrets(self.hook.get_connection(self.http_conn_id)):
            mask_secret(secret)
        super().notify(context)

    async def async_notify(self, context: Any) -> None:
        """Tell, from the triggerer."""
        for secret in _secrets(await get_async_connection(conn_id=self.http_conn_id)):
            await amask_secret(secret)
        await super().async_notify(context)


def _secrets(connection: Any) -> list[str]:
    """What the logs must show as ***: what stands in the address behind the host's name."""
    host = connection.host or ""
    address = urlsplit(host if "://" in host else f"//{host}")
    return [part for part in (address.path.strip("/"), address.query) if part]
