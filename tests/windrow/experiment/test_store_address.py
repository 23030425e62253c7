"""scoring.publish: the folder of an object store, and never a secret."""

from __future__ import annotations

import pytest
from windrow import experiment
from windrow.errors import PageError

PAGE = "name: digits\nscoring: {feed: feeds/*.txt, publish: %s}\n"


def published(address: str) -> str | None:
    scoring = experiment.parse("space: {units: {type: int, low: 1, high: 2}}\n" + PAGE % address).scoring
    assert scoring
    return scoring.publish


@pytest.mark.parametrize(
    "address",
    [
        "s3://bucket",
        "s3://bucket/tables/digits",
        "gs://bucket/tables",
        "abfs://container@account.dfs.core.windows.net/tables",
        "file:///mnt/tables/digits",
    ],
)
def test_a_folder_of_a_store_is_taken(address: str) -> None:
    assert published(address) == published(f"{address}/") == address


def test_there_is_no_copy_unless_the_page_names_a_place() -> None:
    assert published("") is None


@pytest.mark.parametrize(
    "address",
    [
        "s3://AKIAKEY:hunter2@bucket/tables",
        "s3://hunter2@bucket/tables",
        "gs://hunter2@bucket/tables",
        "abfs://container:hunter2@account/tables",
        '"s3://bucket/tables?X-Amz-Signature=hunter2"',
        '"abfs://container@account/tables?sv=1&sig=hunter2"',
        '"s3://bucket/tables#hunter2"',
    ],
)
def test_a_secret_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(PageError, match=r"scoring.publish.*: must be .* without a key or a signature; .*AWS_") as error:
        published(address)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    "address",
    [
        "digits",
        "/mnt/tables",
        "s3://",
        "s3:///tables",
        "file://host/tables",
        "file:///",
        "https://bucket/t",
        "s3a://b/t",
    ],
)
def test_what_is_no_folder_of_a_store_is_refused(address: str) -> None:
    with pytest.raises(PageError, match=r"must be a folder of an object store such as .*; got .*; write SCHEME://"):
        published(address)


@pytest.mark.parametrize("address", ["s3://bucket//tables", "s3://bucket/../tables", "file:///mnt/./tables"])
def test_a_folder_that_has_two_names_is_refused(address: str) -> None:
    with pytest.raises(PageError, match="must name each folder once"):
        published(address)
