"""airflow: what Airflow does around the runs of a page, and whom it tells when one fails or is late."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from windrow.experiment.values import Section

EMAIL_ADDRESS = r"^[^@\s,]+@[^@\s,]+$"
EmailAddress = Annotated[str, Field(pattern=EMAIL_ADDRESS)]


class AirflowSection(Section):
    """Where the page's jobs wait for a slot, and who hears of what went wrong."""

    pool: str = Field(
        "default_pool",
        min_length=1,
        max_length=256,
        description="pool that each Spark job takes a slot of; it must exist",
    )
    emails: tuple[EmailAddress, ...] = Field(
        (), description="who gets a mail when a task has failed or a run is late, through the connection smtp_default"
    )
    webhook: str | None = Field(
        None, min_length=1, description="connection of type http whose address gets the same as JSON, as Slack reads it"
    )
    train_minutes: int | None = Field(
        None, ge=1, description="minutes after which a train run that has not ended counts as late; never if empty"
    )
    score_minutes: int | None = Field(
        None, ge=1, description="minutes after which a score run that has not ended counts as late; never if empty"
    )

    @model_validator(mode="after")
    def _somebody_hears(self) -> AirflowSection:
        minutes = {name: getattr(self, name) for name in ("train_minutes", "score_minutes")}
        late = ", ".join(f"airflow.{name}={value}" for name, value in minutes.items() if value is not None)
        if late and not (self.emails or self.webhook):
            raise ValueError(f"a late run is told to somebody; got {late} alone; add airflow.emails or airflow.webhook")
        return self
