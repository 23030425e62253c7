"""The errors that Windrow reports in one sentence, grouped by who can fix them.

    WindrowError
    ├── UserError            exit code 2: the user fixes pages, arguments or files, then runs again
    │   ├── PageError        an experiment page with mistakes; lists all of them
    │   ├── DatasetError     a source or a prepared data set that can't be used
    │   ├── BuilderError     a user's network function that can't be used
    │   └── StudyError       a study folder that belongs to another search, or holds nothing to promote
    ├── DriftError           exit code 1: a scoring run's rows are withheld until a person accepts them
    ├── AbsentError          a part of the Windrow page in Airflow that can't be shown; all its readers see the reason
    └── ServiceError         exit code 1: an outside service is unavailable; a later run may succeed
        ├── DownloadError    no mirror served the file
        ├── SparkError       no Spark session, or no Spark master
        ├── TrackingError    MLflow is down, or refuses us
        └── PublishError     the object store is unavailable, or refuses us

A message states the rule, the value that was found, and how to fix it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

EXIT_USER_ERROR = 2
EXIT_FAILURE = 1


class WindrowError(Exception):
    """An error that Windrow reports in one sentence instead of a traceback."""

    exit_code = EXIT_FAILURE


class UserError(WindrowError):
    """An error that the user can fix, in the experiment page, the arguments or the files."""

    exit_code = EXIT_USER_ERROR


@dataclass(frozen=True)
class Problem:
    """One mistake on an experiment page: key, line, and a sentence with the rule, the value and how to fix it."""

    key: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        place = f" (line {self.line})" if self.line else ""
        return f"{self.key or 'page'}{place}: {self.message}"


class PageError(UserError):
    """An experiment page with mistakes; `problems` lists all of them, in the page's order."""

    def __init__(self, page: str, problems: Sequence[Problem]) -> None:
        self.page = page
        self.problems = list(problems)
        count = len(self.problems)
        heading = f"{page}: {count} mistake{'s' if count > 1 else ''}"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class DatasetError(UserError):
    """A source or a prepared data set that can't be used."""


class BuilderError(UserError):
    """A user's network function that can't be found, imported or called."""


class StudyError(UserError):
    """A study folder that belongs to another search, or that holds nothing to promote."""


class DriftError(WindrowError):
    """A scoring run's labels or scores have moved too far; its rows are withheld until a person accepts them."""


class AbsentError(WindrowError):
    """A part of the Windrow page in Airflow can't be shown.

    Browsers show the message, so it must not name a path or an address.
    """


class ServiceError(WindrowError):
    """An outside service is unavailable for now."""


class DownloadError(ServiceError):
    """No mirror served the file."""


class SparkError(ServiceError):
    """No Spark session, or no Spark master."""


class TrackingError(ServiceError):
    """MLflow is down, or refuses us."""


class PublishError(ServiceError):
    """The object store that holds a table's copy is unavailable, or refuses us."""
