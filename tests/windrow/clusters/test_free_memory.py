"""Free memory where a container has less than its machine: control groups of both versions, as folders."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest
from windrow.clusters import free_memory

MEBIBYTE = 1 << 20
HUGE = 9223372036854771712
"""The limit that version 1 writes where there is none."""


def machine(root: Path, membership: str, **groups: dict[str, object]) -> Path:
    """Write a machine's /proc/self/cgroup, and the files of its groups: `a__b` is the folder a/b, `top` the top."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(membership)
    for name, files in groups.items():
        folder = root / "sys/fs/cgroup" / ("" if name == "top" else name.replace("__", "/"))
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / f"memory.{file}").write_text(f"{content}\n")
    return root


def two(limit: object, used: int, stat: str = "anon 5") -> dict[str, object]:
    return {"max": limit, "current": used * MEBIBYTE, "stat": stat}


def one(limit: int, used: int, stat: str = "cache 5") -> dict[str, object]:
    return {"limit_in_bytes": limit, "usage_in_bytes": used * MEBIBYTE, "stat": stat}


def left(root: Path) -> int:
    """Mebibytes that are free, far below what any machine has."""
    return free_memory.free_bytes(root) // MEBIBYTE


def test_a_container_of_version_2_has_what_its_limit_leaves(tmp_path: Path) -> None:
    assert left(machine(tmp_path, "0::/\n", top=two(50 * MEBIBYTE, 20))) == 30


def test_a_container_of_version_1_sees_its_own_group_at_the_top_whatever_path_the_host_names(tmp_path: Path) -> None:
    membership = "5:cpu,cpuacct:/docker/1a2b\n4:hugetlb,memory:/docker/1a2b\n"
    assert left(machine(tmp_path, membership, memory=one(50 * MEBIBYTE, 20))) == 30


def test_files_in_memory_count_as_free_those_of_inner_groups_too(tmp_path: Path) -> None:
    files = f"inactive_file {4 * MEBIBYTE}\nactive_file {3 * MEBIBYTE}"
    inner = f"{files}\ntotal_inactive_file {6 * MEBIBYTE}\ntotal_active_file {5 * MEBIBYTE}"
    assert left(machine(tmp_path / "2", "0::/\n", top=two(50 * MEBIBYTE, 20, files))) == 37
    assert left(machine(tmp_path / "1", "4:memory:/\n", memory=one(50 * MEBIBYTE, 20, inner))) == 41


def test_the_tightest_group_around_a_process_decides(tmp_path: Path) -> None:
    groups = {"pod": two(90 * MEBIBYTE, 80), "pod__job": two(50 * MEBIBYTE, 20), "pod__job__own": two("max", 15)}
    assert left(machine(tmp_path, "0::/pod/job/own\n", **groups)) == 10


def test_a_group_that_is_slowed_from_some_size_on_has_what_is_left_below_it(tmp_path: Path) -> None:
    assert left(machine(tmp_path, "0::/\n", top={**two("max", 20), "high": 40 * MEBIBYTE})) == 20


def test_version_2_may_be_mounted_next_to_version_1(tmp_path: Path) -> None:
    groups = {"unified__own": two(60 * MEBIBYTE, 20), "memory__own": one(HUGE, 20)}
    assert left(machine(tmp_path, "4:memory:/own\n0::/own\n", **groups)) == 40


def test_a_group_above_its_limit_has_nothing_left(tmp_path: Path) -> None:
    assert left(machine(tmp_path, "0::/\n", top=two(50 * MEBIBYTE, 60))) == 0


@pytest.mark.parametrize(
    ("membership", "groups"),
    [
        ("0::/own\n", {"own": two("max", 20)}),
        ("4:memory:/own\n", {"memory__own": one(HUGE, 20)}),
        ("0::/own\n", {}),
        ("3:cpuset:/own\n", {"cpuset__own": two(50 * MEBIBYTE, 20)}),
    ],
    ids=["2_without_a_limit", "1_without_a_limit", "no_folder", "no_group_for_memory"],
)
def test_without_a_limit_the_machines_free_memory_counts(
    tmp_path: Path, membership: str, groups: dict[str, dict[str, object]]
) -> None:
    assert left(machine(tmp_path, membership, **groups)) > psutil.virtual_memory().available // MEBIBYTE * 0.5


def test_a_system_without_control_groups_has_the_machines_free_memory(tmp_path: Path) -> None:
    assert left(tmp_path) > psutil.virtual_memory().available // MEBIBYTE * 0.5
