"""The web hook that a page's alerts go to: Airflow's own, whose address stays out of the logs.

Slack's and its like have the secret in the address, which Airflow quotes in the log where a hook is away or refuses.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.http.notifications.http import HttpNotifier
from airflow.sdk.log import mask_secret


class WebHook(HttpNotifier):  # type: ignore[misc]  # Airflow is not typed strictly
    """Posts JSON to the address of a connection of type http."""

    def notify(self, context: Any) -> None:
        """Tell, from a task."""
        _hide(self.hook.get_connection(self.http_conn_id))
        super().notify(context)

    async def async_notify(self, context: Any) -> None:
        """Tell, from the triggerer."""
        _hide(await get_async_connection(conn_id=self.http_conn_id))
        await super().async_notify(context)


def _hide(connection: Any) -> None:
    """Have the logs of this process show *** for the address and for what stands in it behind the host's name."""
    address = urlsplit(connection.host or "")
    for secret in (connection.host, address.path.strip("/"), address.query):
        if secret:
            mask_secret(secret)
