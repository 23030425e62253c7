"""Turn a page's feed of labelled URLs into a listing of images, as a folder of images has one.

    feed = read(page)                   # every mistake in the feed, before anything is started
    listing = images(feed, page)        # downloads what is new or due

What was downloaded once is not requested again. A URL that failed is due again by the rules of a scoring run: after a
pause if the failure may pass, and when the key of the page that decided it is loosened.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pyarrow as pa

from windrow import paths
from windrow.data import sources
from windrow.data.folder import LEFT_OUT_LIMIT, Files, Listing
from windrow.errors import DatasetError, ServiceError
from windrow.experiment import Experiment, ScoringSection
from windrow.files import clear_when_full, locked, write_text
from windrow.plural import counted
from windrow.scoring.feed import new_urls
from windrow.scoring.fetch import usage
from windrow.scoring.fetch.status import Status
from windrow.scoring.fetch.urls import Target
from windrow.scoring.labelled import labelled_feed
from windrow.scoring.labelled.downloading import DownloadPlan, download
from windrow.scoring.labelled.image_store import ImageStore, Try
from windrow.scoring.labelled.labelled_feed import LabelledFeed, LabelledUrl
from windrow.spark import open_session

_SHOWN = 5
_LEFT_OUT = "left_out.csv"

Tries = Mapping[str, Try]
"""The newest try at each URL, by key."""


def read(page: Experiment) -> LabelledFeed | None:
    """Read the feed that a page trains on; None if the page's data set is no feed.

    Raises:
        UserError: there is no file, or the feed can't be a data set, whatever can be downloaded.
    """
    if page.dataset.label is None:
        return None
    files = new_urls.files(new_urls.of_day(page.dataset.source, None), paths.home())
    feed = labelled_feed.read(files, page.dataset.label)
    _check(feed, feed.left_out, {}, _store(page))
    return feed


def images(feed: LabelledFeed, page: Experiment) -> Listing:
    """Download the images that are new or due, and list those that are there.

    The page's scoring section says how hosts are contacted; without one, its defaults do.

    Raises:
        DatasetError: more than LEFT_OUT_LIMIT of the URLs have no image, for good.
        ServiceError: so many have none, but some may have one later; or the disk is full.
        SparkError: there is no Spark to download with.
    """
    store, scoring = _store(page), page.scoring or ScoringSection(feed=page.dataset.source)
    plan = DownloadPlan.of(scoring, store)
    with locked(store.folder), clear_when_full(store.folder):
        tries = store.settle()
        if due := [_target(url, tries) for url in feed.urls if _is_due(tries.get(url.key), plan)]:
            print(f"downloading {counted(len(due), 'URL')} of {counted(len(feed.urls), 'URL')}", file=sys.stderr)
            targets = pa.Table.from_pylist([vars(target) for target in due], schema=new_urls.TARGET_SCHEMA)
            try:
                with open_session(f"download {page.name}", minutes=page.cluster_minutes) as spark:
                    download(spark, targets, plan)
            finally:
                tries = store.settle()
        failed = {url.url: tries[url.key] for url in feed.urls if tries[url.key].status is not Status.OK}
        left_out = {**feed.left_out, **{url: each.reason for url, each in failed.items()}}
        _check(feed, left_out, failed, store)
    refused = _refused(feed, tries) if page.dataset.refuse_usage else {}
    return _listing(feed, tries, left_out, refused, store)


def _store(page: Experiment) -> ImageStore:
    return ImageStore.of_feed(paths.home(), sources.origin(page.dataset))


def _is_due(last: Try | None, plan: DownloadPlan) -> bool:
    """Return whether a URL is to be requested: never tried, due again, or its image is gone."""
    if last is None or last.is_due(datetime.now(UTC)):
        return True
    if last.content_hash is not None:
        return not plan.store.path(last.content_hash).exists()
    return last.decided_by is not None and bool(plan.keys.loosened(last.decided_by))


def _target(url: LabelledUrl, tries: Tries) -> Target:
    last = tries.get(url.key)
    return Target(url.url, url.key, url.address, attempt=last.attempt if last else 0)


def _refused(feed: LabelledFeed, tries: Tries) -> dict[str, str]:
    """Return the header that reserves the training of models, by URL; also where another URL has the same bytes."""
    there = [(url.url, tries[url.key]) for url in feed.urls if tries[url.key].content_hash]
    said = {each.content_hash: header for _, each in there if (header := usage.refusal(each.usage))}
    return {url: said[each.content_hash] for url, each in there if each.content_hash in said}


def _listing(
    feed: LabelledFeed, tries: Tries, left_out: dict[str, str], refused: dict[str, str], store: ImageStore
) -> Listing:
    """Return the images that are there, in the order of the feed's URLs, and a digest of all that they depend on."""
    there = [
        (url, hash_)
        for url in feed.urls
        if (hash_ := tries[url.key].content_hash) is not None and url.url not in refused
    ]
    numbers = {name: number for number, name in enumerate(feed.classes)}
    files = Files(
        store.folder,
        tuple(store.path(hash_) for _, hash_ in there),
        np.array([numbers[url.label] for url, _ in there], np.int64),
        tuple(url.url for url, _ in there),
    )
    state = sha256(repr([(url.key, url.label, hash_) for url, hash_ in there]).encode())
    state.update(repr([sorted(left_out.items()), sorted(refused.items())]).encode("utf-8", "surrogatepass"))
    more = counted(feed.unnamed, "more record of the feed has no URL", "more records of the feed have no URL")
    notes = [more] if feed.unnamed else []
    if refused:
        images = counted(len(refused), "image is", "images are")
        shown = _some([f"{url} ({header})" for url, header in refused.items()])
        notes.append(f"{images} not trained on, as the hosts ask (dataset.refuse_usage): {shown}")
    return Listing(feed.classes, files, None, left_out, tuple(notes), state.hexdigest(), refused)


def _check(feed: LabelledFeed, left_out: Mapping[str, str], failed: Mapping[str, Try], store: ImageStore) -> None:
    """Check that few URLs are left out, and write the list of those that are.

    Raises:
        DatasetError: too many of them are.
        ServiceError: too many are, but not without those that are tried again later.
    """
    lost, most = len(left_out) + feed.unnamed, LEFT_OUT_LIMIT * feed.total
    if lost <= most:
        return
    path = _write(store.folder / _LEFT_OUT, left_out.items())
    shown = _some([f"{url} ({reason})" for url, reason in left_out.items()])
    got = (
        f"at most {LEFT_OUT_LIMIT:.0%} of a data set's URLs may be left out; got {lost:,} of {feed.total:,}: "
        f"{shown}; {path} lists them"
    )
    again = sorted(each.next_attempt for each in failed.values() if each.next_attempt is not None)
    if again and lost - len(again) <= most:
        soonest = datetime.fromisoformat(again[0]).strftime("%Y-%m-%d %H:%M UTC")
        raise ServiceError(f"{got}; {len(again):,} are due again from {soonest} on: run again then, or remove them")
    raise DatasetError(f"{got}; correct or remove them")


def _some(texts: Sequence[str]) -> str:
    more = f"; and {len(texts) - _SHOWN:,} more" if len(texts) > _SHOWN else ""
    return f"{'; '.join(texts[:_SHOWN])}{more}"


def _write(path: Path, rows: Iterable[tuple[str, str]]) -> Path:
    """Write URLs and reasons as CSV; return the path."""
    text = io.StringIO()
    csv.writer(text).writerows([("url", "reason"), *rows])
    return write_text(path, text.getvalue())
