"""Every page of README and docs/: what it links to is there, and each block of code is run by a test."""

from __future__ import annotations

import ast
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from harness.documents import PAGES, REPOSITORY, blocks, text_of

HERE = "tests/docs"
MAKE = f"{HERE}/test_commands.py::test_make_knows_every_target_and_variable_that_is_named"
PAGE_TESTS = "tests/windrow/test_experiment.py"
RUN_BY = {
    "README.md sh: make demo": ".ci/run",
    "README.md yaml": f"{HERE}/test_readme.py::test_the_smallest_page_is_a_page_and_its_data_set_is_what_it_says",
    "README.md python: import keras": f"{HERE}/test_readme.py::test_the_users_network_is_one",
    "README.md python: from deltalake import DeltaTable": (
        f"{HERE}/test_readme.py::test_the_predictions_are_printed_as_it_says"
    ),
    "README.md sh: make up SPARK_WORKERS=2": MAKE,
    "docs/benchmarks.md sh": f"{HERE}/test_commands.py::test_a_measurement_knows_every_option_that_is_named",
    "docs/clusters.md sh: make up SPARK_WORKERS=4": MAKE,
    "docs/clusters.md sh: export SPARK_WORKERS=13": (
        f"{HERE}/test_commands.py::test_the_compose_file_has_every_service_that_is_named"
    ),
    "docs/clusters.md yaml": f"{HERE}/test_clusters_page.py::test_the_page_that_publishes_is_one",
    "docs/clusters.md json": f"{HERE}/test_clusters_page.py::test_spark_submit_takes_what_becomes_of_a_connection",
    "docs/feeds.md python": (
        "tests/windrow/scoring/feed/test_new_urls.py::test_the_recipe_for_a_database_makes_a_feed_of_its_rows"
    ),
    "docs/jobs.md sh": f"{HERE}/test_by_hand.py::test_the_jobs_by_hand_find_what_the_demo_finds",
    "docs/pages.md yaml": f"{PAGE_TESTS}::test_the_examples_of_the_reference_load",
    "docs/pages.md yaml broken": f"{PAGE_TESTS}::test_the_mistakes_of_the_reference_are_what_windrow_says",
    "docs/pages.md text": f"{PAGE_TESTS}::test_the_mistakes_of_the_reference_are_what_windrow_says",
    "docs/sql.md python: from windrow import featurizer": (
        "tests/windrow/test_featurizer.py::test_images_get_their_features_in_their_rows_whatever_is_in_them"
    ),
    "docs/sql.md python": f"{HERE}/test_sql_page.py::test_the_page_labels_urls_and_images_in_sql_and_in_a_pipeline",
    "docs/table.md python: from deltalake import DeltaTable": (
        f"{HERE}/test_table_page.py::test_each_reader_finds_the_newest_row_of_each_url"
    ),
    "docs/testing.md sh": MAKE,
    "docs/testing.md python": f"{HERE}/test_testing_page.py::test_the_example_of_a_test_passes",
    "docs/transfer.md yaml": f"{HERE}/test_transfer_page.py::test_the_page_of_photographs_is_the_shipped_one_and_short",
    "docs/use_the_champion.md python: import requests": (
        f"{HERE}/test_champion_page.py::test_a_web_service_labels_images_as_json"
    ),
    "docs/use_the_champion.md python": (
        f"{HERE}/test_champion_page.py::test_a_notebook_gets_names_and_probabilities_and_files_of_other_formats"
    ),
    "docs/use_the_champion.md sh": f"{HERE}/test_champion_page.py::test_a_web_service_labels_images_as_json",
}
"""Page, language and, where they differ, how a block begins -> the test that runs it, or checks what can be checked."""

NOT_RUN = {
    "docs/table.md python: import polars": "Polars is in no lock",
    "docs/table.md python: import duckdb": "DuckDB is in no lock",
    'docs/clusters.md python: DeltaTable("s3://shop-data/table': (
        "Polars, DuckDB and delta-spark are in no lock; deltalake reads a copy in scoring/publish/test_copy.py"
    ),
}
"""Blocks that no test runs, and why."""

EVERY_BLOCK = [block for page in PAGES for block in blocks(page)]
KEYS = [key for block in EVERY_BLOCK for key in (block.key, f"{block.page} {block.language}")]


@pytest.mark.parametrize("block", EVERY_BLOCK, ids=lambda block: block.key)
def test_every_block_is_run_by_a_test_or_says_why_not(block: tuple[str, str, str]) -> None:
    page, language, _ = block
    assert {block.key, f"{page} {language}"} & {*RUN_BY, *NOT_RUN}, f"no test runs this block: add it to {__name__}"


def test_every_test_that_is_named_exists_and_no_block_is_gone() -> None:
    assert {*RUN_BY, *NOT_RUN} - set(KEYS) == set()
    for place in set(RUN_BY.values()) - {".ci/run"}:
        path, _, name = place.partition("::")
        tree = ast.parse((REPOSITORY / path).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, place


def test_the_two_commands_are_steps_of_ci() -> None:
    (two,) = [block.text for block in blocks("README.md", "sh") if block.text.startswith("make demo")]
    steps = re.findall(r"^ *step (?:tests [a-z-]+ (?=[a-z])|make )(\S+)", text_of(".ci/run"), re.MULTILINE)
    assert [line for line in two.splitlines() if line.removeprefix("make ") not in steps] == []
    assert {"lint", "test", "test-faults", "reproduce", "doctor", "stop", "test-cluster"} <= set(steps)
    assert steps.count("demo") == 2


def anchors(page: str) -> set[str]:
    """What a page's headings are linked to by, as GitHub makes it."""
    titles = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file_and_a_heading(page: str) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        if urlsplit(target).scheme:
            continue
        path, _, anchor = target.partition("#")
        there = ((REPOSITORY / page).parent / path).resolve() if path else REPOSITORY / page
        assert there.exists(), target
        assert not anchor or anchor in anchors(str(there.relative_to(REPOSITORY))), target


@pytest.mark.parametrize("page", PAGES)
def test_every_file_of_the_repository_that_is_named_exists(page: str) -> None:
    made = ("bench/results/", "docker/.env")  # by a measurement, by make up
    names = re.findall(r"`((?:tests|jobs|plugins|dags|bench|docker|docs)/[\w./*-]+)`", text_of(page))
    missing = [
        name for name in names if "NAME" not in name and not name.startswith(made) and not list(REPOSITORY.glob(name))
    ]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_no_block_asks_a_host_that_is_somebodys(page: str) -> None:
    """What a reader copies asks this machine, a container, or a name that is nobody's."""
    nobodys = ("example.com", "example.org", ".example", ".svc", "mlflow", "spark-master", "HOST")
    for block in blocks(page):
        for address in re.findall(r"\b(?:https?|spark|jdbc:\w+)://[^\s\"'`)]+", block.text):
            host = urlsplit(address.removeprefix("jdbc:")).hostname or ""
            if re.fullmatch(r"[\d.]+", host):
                assert ip_address(host).is_loopback, address
            else:
                assert host.endswith(tuple(name.lower() for name in nobodys)), address
