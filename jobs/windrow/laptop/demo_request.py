"""Read the request for a demo: an experiment page, and values that override it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from windrow import experiment
from windrow.errors import UserError
from windrow.experiment import BUILT_IN_SOURCES, Experiment
from windrow.experiment.scoring import ScoringSection
from windrow.laptop import demo_feed
from windrow.laptop.page import feed_addresses
from windrow.paths import REPOSITORY, home
from windrow.scoring.feed import new_urls


@dataclass(frozen=True)
class DemoRequest:
    """An experiment page, and the values that override it."""

    path: Path
    page: Experiment
    overrides: tuple[str, ...]

    @property
    def name(self) -> str:
        """Return the experiment's name."""
        return self.page.name

    def key(self) -> str:
        """Return a digest of the page, its network file and the overrides. Demos with the same key train only once."""
        digest = hashlib.sha256(self.path.read_bytes() + json.dumps(self.overrides).encode())
        if self.page.network.function is not None:
            digest.update((self.path.parent / self.page.network.function[0]).read_bytes())
        return digest.hexdigest()


def find(name: str, overrides: Sequence[str]) -> DemoRequest:
    """Read and check the page `name` in dags/experiments with the overrides, before any service starts.

    Raises:
        UserError: the page does not exist, or has mistakes.
    """
    folder = REPOSITORY / "dags" / "experiments"
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(page.stem for page in folder.glob("*.yaml")))
        raise UserError(f"EXPERIMENT must be a page in dags/experiments; got {name!r}; there are {known}")
    whole = tuple(map(_absolute_source, overrides))
    return DemoRequest(path, experiment.load(path, whole), whole)


def labels_with_own_champion(page: Experiment) -> bool:
    """Return whether the page's scoring uses the champion that its training makes."""
    own = f"models:/{page.model_name}@champion"
    return page.scoring is not None and page.scoring.network is None and page.champion_uri == own


def check(request: DemoRequest) -> None:
    """Refuse a page whose demo is bound to fail, before anything starts.

    The first demo's labels come from a run that the new champion starts, which does not get the request's overrides. A
    second demo starts a run that gets them. So the scoring section must fit with and without them.

    Raises:
        UserError: the page does not train, its folder of images is not there, or its scoring would not label the
            demo's feed with the new champion.
    """
    if not request.page.trains:
        raise UserError(
            f"the demo trains a network; got {request.name}, a page without a space; "
            f"run make score EXPERIMENT={request.name}"
        )
    plain = experiment.load(request.path)
    if (plain.scoring is None) != (request.page.scoring is None):
        raise UserError(
            f"the page itself decides whether a demo scores; got {request.name} and SET, of which only one has a "
            "scoring section; write it on the page"
        )
    _check_scoring(plain, request.name)
    if request.overrides:
        _check_scoring(request.page, f"{request.name} with SET={' '.join(request.overrides)}")
    check_source(request.page)


def check_source(page: Experiment) -> None:
    """Refuse a page whose folder of images is not there, before any service starts.

    Raises:
        UserError: dataset.source is a folder, and there is none. A relative path starts where Airflow runs jobs, at
            WINDROW_HOME. Or it is a feed without a file, or with addresses that the page does not allow.
    """
    source = page.dataset.source
    if page.dataset.label is not None:
        files = new_urls.files(new_urls.of_day(source, None), home())
        feed_addresses.check(page.scoring or ScoringSection(feed=source), files)
        return
    folder = home() / Path(source).expanduser()
    if source not in BUILT_IN_SOURCES and not folder.is_dir():
        raise UserError(
            f"dataset.source must be {', '.join(BUILT_IN_SOURCES)} or a folder; got {source!r}; no such folder: "
            f"{folder}; put one folder of images per class there, or write another folder on the page"
        )


def _check_scoring(page: Experiment, name: str) -> None:
    """Refuse a page whose scoring would not label the demo's feed with the champion of its training."""
    scoring = page.scoring
    if scoring is None:
        return
    cure = f"run make train EXPERIMENT={page.name}, which uses the page's own feed"
    feed = demo_feed.feed_file(home(), page.name)
    own = home() / Path(scoring.feed.replace("{date}", "*")).expanduser()
    if not (own in (feed, feed.parent) or fnmatch(str(feed), str(own))):
        raise UserError(f"the demo writes its own feed to {feed}; the feed of {name} is {own}; {cure}")
    if not labels_with_own_champion(page):
        named = scoring.model or "a network of its own"
        raise UserError(f"the demo labels with the champion that it trains; {name} scores with {named}; {cure}")
    if not scoring.allow_addresses:
        raise UserError(
            f"the demo's images are on this machine; {name} allows addresses of the public internet only; "
            f"{cure}, or write scoring.allow_addresses: [127.0.0.0/8]"
        )


def _absolute_source(override: str) -> str:
    """Return the override, with a folder in dataset.source made absolute, because jobs run in another folder."""
    key, _, value = override.partition("=")
    if key.strip() != "dataset.source" or value in BUILT_IN_SOURCES or not Path(value).exists():
        return override
    return f"dataset.source={Path(value).resolve()}"
