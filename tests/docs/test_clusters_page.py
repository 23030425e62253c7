"""docs/clusters.md: its connections become command lines that Spark takes, and its settings are Spark's."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.airflow import Airflow
from harness.documents import REPOSITORY, blocks, text_of
from windrow import experiment

PAGE = "docs/clusters.md"
CONNECTIONS = [json.loads(block.text) for block in blocks(PAGE, "json")]
CONNECTIONS += [
    json.loads(text) for text in re.findall(r'^\|[^|]*\| `(\{"conn_type".*?\})` \|', text_of(PAGE), re.MULTILINE)
]
COMMANDS = """
import json, os, sys
from airflow.providers.apache.spark.hooks.spark_submit import SparkSubmitHook
from windrow_spark import SparkJob
for number, connection in enumerate(json.loads(sys.argv[1])):
    os.environ[f"AIRFLOW_CONN_C{number}"] = json.dumps(connection)
    job = SparkJob(task_id="t", job="sweep", conn_id=f"c{number}")
    job._check_connection()
    hook = job._get_hook()
    hook._conf = {**job._connection_conf(), **hook._conf}
    print(json.dumps(hook._build_spark_submit_command("jobs/sweep.py")))
"""
"""What SparkJob gives to the provider's hook, as far as the command line; nothing is started."""


def test_the_page_that_publishes_is_one() -> None:
    (block,) = blocks(PAGE, "yaml")
    text = f"name: letters\nspace: {{learning_rate: {{type: float, low: 0.1, high: 0.2}}}}\n{block.text}  feed: feeds\n"
    page = experiment.parse(text)
    assert page.scoring is not None
    assert page.scoring.publish == "s3://shop-data/tables/letters"


@pytest.mark.spark
@pytest.mark.airflow
def test_spark_submit_takes_what_becomes_of_a_connection(spark_submit: Callable[..., Any], tmp_path: Path) -> None:
    # The hook refuses k8s:// without another provider, as the page says.
    known = [connection for connection in CONNECTIONS if not connection["host"].startswith("k8s://")]
    assert len(known) >= 4
    variables = Airflow(tmp_path).environment  # connections are its variables: no database is asked
    command = [sys.executable, "-c", COMMANDS, json.dumps(known)]
    environment = {**variables, "PYTHONPATH": f"{REPOSITORY / 'plugins'}:{variables['PYTHONPATH']}"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    for connection, (_, *line) in zip(known, lines, strict=True):
        read = spark_submit(*line, HADOOP_CONF_DIR="/etc/hadoop")
        assert read.master().startswith(connection["host"])
        assert read.primaryResource().endswith("jobs/sweep.py")
        extra = connection.get("extra", {})
        assert read.queue() == extra.get("queue")
        assert {key: read.sparkProperties().apply(key) for key in extra.get("conf", {})} == extra.get("conf", {})


@pytest.mark.spark
def test_every_setting_of_spark_that_is_named_is_one(spark: Any) -> None:
    """Spark itself takes any name, and says nothing of one that it does not know."""
    load = spark._jvm.java.lang.Class.forName
    for package in ("internal.config.package$", "deploy.yarn.config.package$", "deploy.k8s.Config$"):
        load(f"org.apache.spark.{package}")
    entries = spark._jvm.org.apache.spark.internal.config.ConfigEntry
    text = text_of(PAGE).replace("`.shuffleTracking.enabled`", "`spark.dynamicAllocation.shuffleTracking.enabled`")
    names = set(re.findall(r"(?<![\w.])spark\.(?!read\.)[a-z][\w.]*\w", text))
    families = re.compile(r"spark\.(executorEnv\.|(executor|task)\.resource\.gpu\.|kubernetes\.executor\.volumes\.)")
    unknown = [name for name in names if not families.match(name) and entries.findEntry(name) is None]
    assert unknown == []
    assert len(names) > 20


@pytest.mark.spark
def test_the_claims_of_the_pods_are_volumes_to_spark(spark: Any) -> None:
    (settings,) = [each["extra"]["conf"] for each in CONNECTIONS if "kubernetes" in json.dumps(each)]
    conf = spark._jvm.org.apache.spark.SparkConf(False)
    for name, value in settings.items():
        conf.set(name, value)
    read = spark._jvm.org.apache.spark.deploy.k8s.KubernetesVolumeUtils.parseVolumesWithPrefix
    volumes = read(conf, "spark.kubernetes.executor.volumes.").mkString("\n").splitlines()
    places = {"tables": "/var/lib/windrow/tables", "feeds": "/var/lib/windrow/feeds"}
    assert len(volumes) == len(places)
    for name, place in places.items():
        assert any(name in volume and place in volume for volume in volumes), volumes
