"""scoring.network on a page: what it may say, what it must not say together, and a page that only scores."""

from __future__ import annotations

from pathlib import Path

import pytest
from windrow import experiment
from windrow.errors import PageError

KERAS = "file: a.keras, labels: [labels.txt]"
GRAPH = "file: a.pb, labels: [labels.txt], feed: 'a:0', fetch: 'softmax:0'"


def page(network: str, more: str = "") -> str:
    return f"name: a\nscoring: {{feed: '*.txt', network: {{{network}}}}}\n{more}"


def sentences(text: str) -> list[str]:
    with pytest.raises(PageError) as caught:
        experiment.parse(text)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("network", "kind", "name"),
    [
        (KERAS, "keras", "a"),
        ("file: /data/Best.KERAS, labels: [l]", "keras", "Best"),
        (GRAPH, "graph", "a"),
        ("file: models/saved, labels: [l]", "saved_model", "saved"),
        ("file: 'http://a/b.tgz?c=d/e', member: in/net.pb, labels: [l, m], feed: 'x:0', fetch: 'y:0'", "graph", "net"),
        ("file: 'https://a/b.keras?version=1.2#x', labels: [l]", "keras", "b"),
        ("file: a.zip, member: saved, labels: [l], feed: image, fetch: probabilities", "saved_model", "saved"),
    ],
)
def test_a_network_is_called_as_its_file_and_is_what_the_file_is_called(network: str, kind: str, name: str) -> None:
    scoring = experiment.parse(page(network)).scoring
    assert scoring is not None
    assert scoring.network is not None
    assert (scoring.network.kind, scoring.network.name, scoring.model_name) == (kind, name, name)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (f"{KERAS}, sha256: ABC", "sha256 (line 2): must be 64 hexadecimal digits in lower case; got 'ABC'"),
        (
            f"{KERAS}, shape: [224, 224]",
            "shape (line 2): must be height, width (1 to 4,096) and channels (1 or 3); got [224, 224]; "
            "for example [224, 224, 3]",
        ),
        (
            f"{KERAS}, shape: [224, 224, true]",
            "shape (line 2): must be height, width (1 to 4,096) and channels (1 or 3); got [224, 224, True]; "
            "for example [224, 224, 3]",
        ),
        (
            f"{KERAS}, range: [1, 0]",
            "range (line 2): must be two numbers, the values of black and of white; got [1, 0]; for example [-1, 1]",
        ),
        (f"{KERAS}, resize: soft", "resize (line 2): must be 'plain', 'corner' or 'smooth'; got 'soft'"),
        (
            "file: a.keras, labels: [a, b, c]",
            "labels (line 2): must be one file with one label per line, or a map of classes and a list of names; "
            "got ['a', 'b', 'c']; for example [labels.txt]",
        ),
        (
            f"{KERAS}, feed: 'a:0'",
            "feed (line 2): must be empty for a .keras file, which has one input and one output; got 'a:0'; remove it",
        ),
        (
            "file: a.pb, labels: [l], fetch: 'softmax:0'",
            "feed (line 2): is missing; a GraphDef does not say where it begins and ends; "
            "add feed: DecodeJpeg/contents:0",
        ),
        (
            "file: a.pb, labels: [l], feed: 'a:0', fetch: softmax",
            "fetch (line 2): must be a tensor, OPERATION:NUMBER; got 'softmax'; for example softmax:0",
        ),
        (
            "file: a.tgz, labels: [l]",
            "member (line 2): is missing; a.tgz is an archive; add the network's place in it",
        ),
        (f"{KERAS}, member: b", "member (line 2): must be empty for a file that is no archive; got 'b'; remove it"),
        (
            "file: b/saved_model.pb, labels: [l]",
            "file (line 2): must be the SavedModel's folder; got 'b/saved_model.pb', which is a part of one; "
            "name the folder",
        ),
        (
            "file: http://a/saved, labels: [l]",
            "file (line 2): must be a .keras file, a GraphDef (.pb) or an archive to be downloaded; "
            "got 'http://a/saved'; name it so",
        ),
        ("labels: [l]", "file (line 2): is missing; add it"),
        (f"{KERAS}, feeds: a", "feeds (line 2): unknown key; did you mean feed?; known keys are"),
    ],
)
def test_a_mistake_gets_its_sentence(network: str, sentence: str) -> None:
    (told,) = sentences(page(network))
    assert told.startswith(f"scoring.network.{sentence}")


def test_either_a_registered_model_labels_or_a_file() -> None:
    text = page(GRAPH).replace("feed: '*.txt'", "feed: '*.txt', model: 'models:/a/1'")
    assert sentences(text) == [
        "scoring.model (line 2): must be empty where scoring.network labels; got 'models:/a/1'; remove either"
    ]


def test_no_champion_replaces_a_file() -> None:
    text = page(GRAPH).replace("feed: '*.txt'", "feed: '*.txt', rescore: champion")
    assert sentences(text) == [
        "scoring.rescore (line 2): must be never where scoring.network labels, which no champion replaces; "
        "got champion; run --rescore"
    ]


def test_a_page_without_a_space_only_scores() -> None:
    assert not experiment.parse(page(KERAS)).trains
    assert not experiment.parse("name: a\nscoring: {feed: a, model: 'models:/b@champion'}\n").trains
    assert experiment.parse(page(KERAS, "space: {units: {type: int, low: 1, high: 2}}")).trains


@pytest.mark.parametrize("more", ["sweep: {trials: 3}", "dataset: {source: mnist}", "promotion:"])
def test_a_page_that_trains_needs_its_space(more: str) -> None:
    (told,) = sentences(page(KERAS, more))
    assert told.startswith(
        f"space: is missing, so the page only scores; got {more.partition(':')[0]}; remove that, or "
    )


def test_a_page_that_scores_with_its_own_champion_needs_its_space() -> None:
    (told,) = sentences("name: a\nscoring: {feed: a, network: }\n")
    assert told.startswith("space: is missing; add at least one hyper-parameter")


def test_a_job_that_trains_refuses_a_page_that_only_scores(tmp_path: Path) -> None:
    path = tmp_path / "page.yaml"
    path.write_text(page(KERAS))
    with pytest.raises(PageError, match="space: must be there to train; got a page that only scores; add it, or run"):
        experiment.load_to_train(path)
    assert experiment.load_to_train(path, ["space.units={type: int, low: 1, high: 2}"]).trains
