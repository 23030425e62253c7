"""The errors that Windrow reports in one sentence, grouped by who can fix them.

    WindrowError
    ├── UserError            exit code 2: the user fixes pages, arguments or files, then runs again
    │   ├── PageError        an experiment page with mistakes; lists all of them
    │   ├── DatasetError     a source or a prepared data set that can't be used
    │   ├── BuilderError     a user's network function that can't be used
    │   ├── StudyError       a study that can't be used as asked, or whose trials did not end ok
    │   └── NoChampionError  nothing is champion yet; a scheduled scoring run is skipped
    ├── DriftError           exit code 1: a scoring run's rows are withheld until a person accepts them
    ├── ShortfallError       exit code 1: a scoring run labelled too few of its URLs; its rows are committed
    ├── AbsentError          a part of the Windrow page in Airflow that can't be shown; readers see the reason there
    └── ServiceError         exit code 1: a service, a lock or disk space is unavailable; a later run may succeed
        ├── DownloadError    no mirror served the file
        ├── SparkError       no Spark session, or no Spark master
        ├── TrackingError    MLflow is down, or refuses the request
        └── PublishError     the object store is unavailable, or refuses the request

A message states the rule, the value that was found, and how to fix it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from windrow.plural import counted

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
    """An experiment page with mistakes; `problems` lists them all, in the page's order."""

    def __init__(self, page: str, problems: Sequence[Problem]) -> None:
        self.page = page
        self.problems = list(problems)
        heading = f"{page}: {counted(len(self.problems), 'mistake')}"
        super().__init__("\n".join([heading, *(f"  {problem}" for problem in self.problems)]))


class DatasetError(UserError):
    """A source or a prepared data set that can't be used."""


class BuilderError(UserError):
    """A user's network function that can't be found, imported or called."""


class StudyError(UserError):
    """A study can't be used as asked: it belongs to another search, say, or none of its trials ended ok."""


class NoChampionError(UserError):
    """The registry has no champion to label with yet; a run that no person started is skipped."""


class DriftError(WindrowError):
    """A scoring run's labels or scores have moved too far; its rows are withheld until a person accepts them."""


class ShortfallError(WindrowError):
    """A scoring run labelled a smaller share of its URLs than the page's minimum; its rows are committed."""


class AbsentError(WindrowError):
    """A part of the Windrow page in Airflow can't be shown.

    Browsers show the error's message, so the message must not name a path or an address.
    """


class ServiceError(WindrowError):
    """Something that a job needs is unavailable for now: a service, a lock that another run holds, space on a disk."""


class DownloadError(ServiceError):
    """No mirror served the file."""


class SparkError(ServiceError):
    """No Spark session, or no Spark master."""


class TrackingError(ServiceError):
    """MLflow is down, or refuses the request."""


class PublishError(ServiceError):
    """The object store that holds a table's copy is unavailable, or refuses the request."""
