"""A web hook that is away: what Airflow says of it names no secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

pytestmark = pytest.mark.airflow


def tell_from_a_task(hook: Any) -> None:
    hook.notify({})


def tell_from_the_triggerer(hook: Any) -> None:
    asyncio.run(hook.async_notify({}))


@pytest.mark.parametrize("scheme", ["http://", ""])
@pytest.mark.parametrize("tell", [tell_from_a_task, tell_from_the_triggerer])
def test_the_logs_are_told_to_hide_the_address(
    tell: Callable[[Any], None], scheme: str, free_port: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow.sdk.log import redact
    from windrow_webhook import WebHook

    name = f"{tell.__name__}{len(scheme)}"
    path, key = f"services/{name}", f"key={name[::-1]}"
    address = f"{scheme}127.0.0.1:{free_port()}/{path}?{key}"
    monkeypatch.setenv("AIRFLOW_CONN_NIGHT_HOOK", json.dumps({"conn_type": "http", "host": address}))
    said = f"could not reach {address}, with url: /{path}?{key}"
    assert redact(said) == said

    with pytest.raises(Exception, match=r"[Cc]onnect"):
        tell(WebHook(http_conn_id="night_hook", json={"text": "late"}))

    assert path not in redact(said)
    assert key not in redact(said)
