"""The section scoring: how image URLs are labelled, and how politely they are downloaded."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from windrow.experiment.precision import PrecisionSection
from windrow.experiment.rules.network_file import NetworkFileSection
from windrow.experiment.values import Cron, Network, Section, StoreAddress

Rate = Annotated[float | None, Field(gt=0, le=100_000, allow_inf_nan=False)]


class ScoringSection(Section):
    """The settings for labelling image URLs, with the champion or another network, and for downloading them."""

    feed: str = Field(
        min_length=1,
        description="glob or folder of the files that URLs arrive in; under WINDROW_HOME if relative; "
        "{date} in it stands for a day such as 2026-11-25",
    )
    model: str | None = Field(
        None, description="models:/NAME@ALIAS or models:/NAME/VERSION; the page's champion if empty"
    )
    network: NetworkFileSection | None = Field(
        None, description="a network that is not in the registry, in place of a model"
    )
    precision: PrecisionSection | None = Field(None, description="lower precision of the network, on OpenVINO")
    schedule: Cron = Field("0 3 * * *", description="cron expression for the score DAG")
    top_k: int = Field(3, ge=1, le=100, description="labels stored per URL")
    batch_size: int = Field(16, ge=1, le=4096, description="images per step of the network")
    concurrency: int = Field(128, ge=1, le=256, description="requests at once in a Spark task")
    host_concurrency: int = Field(4, ge=1, le=256, description="requests at once to one host, over all tasks of a run")
    host_rate: Rate = Field(
        10.0, description="requests a second to one host, over all tasks of a run; no limit if empty"
    )
    robots: bool = Field(True, description="honour robots.txt and X-Robots-Tag")
    timeout_seconds: float = Field(20.0, gt=0, le=600, description="total deadline of a URL's download")
    connect_seconds: float = Field(5.0, gt=0, le=600, description="deadline of looking a name up and connecting")
    read_seconds: float = Field(10.0, gt=0, le=600, description="longest silence while a response arrives")
    max_bytes: int = Field(20_000_000, ge=1_000, description="largest download, bytes")
    max_pixels: int = Field(40_000_000, ge=64, description="largest image, pixels; checked before decoding")
    allow_addresses: tuple[Network, ...] = Field(
        (),
        description="networks beyond the public internet that may be fetched from, e.g. 127.0.0.0/8; none by default",
    )
    contact: str | None = Field(None, description="address or URL in the User-Agent, for the operators of the hosts")
    attempts: int = Field(
        5, ge=1, le=100, description="runs that fetch a URL whose failure may pass, the first included"
    )
    retry_hours: float = Field(
        6.0, ge=0, le=168, description="hours until a failed URL is due again; doubled after each attempt, up to a week"
    )
    keep_mebibytes: int | None = Field(
        None, ge=1, description="MiB of downloaded bytes to cache next to the table, for re-scoring; no cache if empty"
    )
    minimum_ok_share: float = Field(
        0.2,
        ge=0,
        le=1,
        description="share of a run's new URLs that must get a label, of 20 or more; below it the rows are committed "
        "and the run fails",
    )
    rescore: Literal["never", "champion"] = Field(
        "never", description="whether another champion labels again what other versions have labelled"
    )
    truth: str | None = Field(
        None, min_length=1, description="column of the feed with the true class, for the accuracy; none if empty"
    )
    drift_gate: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="PSI of labels or scores against earlier runs beyond which rows are withheld; no gate if empty",
    )
    publish: StoreAddress | None = Field(
        None,
        description="folder of an object store for a copy of the table, e.g. s3://bucket/tables/digits; "
        "no copy if empty",
    )

    @property
    def model_name(self) -> str | None:
        """Return the name of the page's own network; None if a registered model is used."""
        return self.network.name if self.network else None
