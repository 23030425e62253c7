"""The section airflow: the pool of a page's jobs, and who is notified when a run fails or is late."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from windrow.experiment.values import Section

EMAIL_ADDRESS = r"^[^@\s,]+@[^@\s,]+$"
EmailAddress = Annotated[str, Field(pattern=EMAIL_ADDRESS)]


class AirflowSection(Section):
    """The pool that the page's jobs wait in, and who is notified of failures and late runs."""

    pool: str = Field(
        "default_pool",
        min_length=1,
        max_length=256,
        description="pool that each Spark job takes a slot of; it must exist",
    )
    emails: tuple[EmailAddress, ...] = Field(
        (),
        description="addresses that get a mail when a task fails or a run is late, through the connection smtp_default",
    )
    webhook: str | None = Field(
        None,
        min_length=1,
        description="connection of type http that gets the same as JSON, in the form that Slack reads",
    )
    train_minutes: int | None = Field(
        None, ge=1, description="minutes after which an unfinished train run counts as late; never if empty"
    )
    score_minutes: int | None = Field(
        None, ge=1, description="minutes after which an unfinished score run counts as late; never if empty"
    )

    @model_validator(mode="after")
    def _late_runs_have_a_receiver(self) -> AirflowSection:
        minutes = {name: getattr(self, name) for name in ("train_minutes", "score_minutes")}
        late = ", ".join(f"airflow.{name}={value}" for name, value in minutes.items() if value is not None)
        if late and not (self.emails or self.webhook):
            raise ValueError(
                f"a late run must be reported to someone; got {late} alone; add airflow.emails or airflow.webhook"
            )
        return self
