"""The image answers as Kubernetes starts it: an executor by the argument `executor` joins a driver and does its work.

There is no Kubernetes here. The driver is one on the standalone master, which gives it a single core; the second
executor is a container that was started as a pod's would be.
"""

from __future__ import annotations

import subprocess
import textwrap
from typing import Any

DRIVER = """
import socket, time
from pyspark.sql import SparkSession
spark = SparkSession.builder.getOrCreate()
context = spark.sparkContext
end = time.monotonic() + 120
while context._jsc.sc().getExecutorMemoryStatus().size() < 3:
    assert time.monotonic() < end, "the second executor did not come"
    time.sleep(0.2)
def host(_):
    time.sleep(1)
    yield socket.gethostname()
print("hosts", *sorted(set(context.parallelize(range(4), 4).mapPartitions(host).collect())))
"""


def test_an_executor_that_is_started_as_in_a_pod_works(cluster: Any) -> None:
    driver, pod = "windrow-test-driver", "windrow-test-pod"
    network = f"{cluster.variables['COMPOSE_PROJECT_NAME']}_default"
    image = cluster.variables.get("WINDROW_IMAGE", "windrow:local")
    common = ["docker", "run", "--rm", "--network", network, "--memory", "1g"]
    settings = {
        "spark.driver.host": driver,
        "spark.driver.bindAddress": "0.0.0.0",
        "spark.driver.port": "7079",
        "spark.driver.memory": "512m",
        "spark.cores.max": "1",
        "spark.executor.memory": "512m",
        "spark.app.id": "pods",
    }
    options = " ".join(f"--conf {key}={value}" for key, value in settings.items())
    script = f"cat > /tmp/driver.py && exec spark-submit --master spark://spark-master:7077 {options} /tmp/driver.py"
    variables = {
        "SPARK_DRIVER_URL": f"spark://CoarseGrainedScheduler@{driver}:7079",
        "SPARK_EXECUTOR_ID": "100",
        "SPARK_EXECUTOR_CORES": "1",
        "SPARK_EXECUTOR_MEMORY": "512m",
        "SPARK_APPLICATION_ID": "pods",
        "SPARK_EXECUTOR_POD_IP": pod,
        "SPARK_EXECUTOR_POD_NAME": pod,
        "SPARK_RESOURCE_PROFILE_ID": "0",
        "SPARK_JAVA_OPT_0": "-Dspark.driver.port=7079",
    }
    running = subprocess.Popen(
        [*common, "--interactive", "--name", driver, "--hostname", driver, image, "bash", "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert running.stdin is not None
    running.stdin.write(textwrap.dedent(DRIVER))
    running.stdin.close()
    try:
        cluster.wait(lambda: cluster.reached(driver, 7079) or running.poll() is not None, 60, "the driver to listen")
        given = [option for name, value in variables.items() for option in ("--env", f"{name}={value}")]
        named = ["--detach", "--name", pod, "--hostname", pod]
        begun = subprocess.run([*common, *named, *given, image, "executor"], capture_output=True, text=True)
        assert begun.returncode == 0, begun.stderr
        assert running.stdout is not None
        told = running.stdout.read()
        (hosts,) = [line for line in told.splitlines() if line.startswith("hosts")] or [told[-4000:]]
        assert pod in hosts.split()
        assert len(hosts.split()) == 3
    finally:
        subprocess.run(["docker", "rm", "--force", driver, pod], capture_output=True)
        running.wait(60)
