"""The names of classes: one file of lines, or ImageNet's two."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from windrow.errors import UserError
from windrow.scoring.network import labels

MAP = """\
# -*- protobuf -*-
# LabelMap from ImageNet 2012 full data set UID to int32 target class.
entry {
  target_class: 3
  target_class_string: "n03"
}
entry {
  target_class: 1
  target_class_string: "n01"
}
"""
NAMES = "n01\ttench, Tinca tinca\nn02\tgoldfish\n"


def test_a_line_is_a_label(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes("\ufeffbackground\r\ntench, Tinca tinca\r\n\r\nné\r\n\r\n".encode())
    assert labels.read([tmp_path / "labels.txt"]) == ("background", "tench, Tinca tinca", "class 2", "né")


def test_a_map_and_names_are_joined_and_what_they_leave_out_is_a_number(tmp_path: Path) -> None:
    (tmp_path / "map.pbtxt").write_text(MAP)
    (tmp_path / "names.txt").write_text(NAMES)
    read = labels.read([tmp_path / "map.pbtxt", tmp_path / "names.txt"])
    assert read == ("class 0", "tench, Tinca tinca", "class 2", "n03")
    assert labels.fit(read, 6, open_ended=True) == (*read, "class 4", "class 5")


@pytest.mark.parametrize(
    ("name", "number"),
    [("B", 1), ("b", 0), ("dog", 3), ("DOG", 3), ("cat", 2), ("Cat, Dog", 2), ("crane", 5), ("heron", 4), ("x", None)],
)
def test_the_same_text_goes_before_another_case_and_a_whole_label_before_a_part(name: str, number: int | None) -> None:
    known = labels.numbers(("b", "B", "cat, dog", "Dog", "heron, crane", "crane"))
    assert labels.number_of(name, known) == number


def test_a_name_is_the_same_however_its_accents_are_written() -> None:
    composed, apart = (unicodedata.normalize(form, "Größe, École") for form in ("NFC", "NFD"))
    for label, name in ((composed, apart), (apart, composed)):
        known = labels.numbers(("cat", label))
        assert [labels.number_of(each, known) for each in (name, name.lower(), name.split(", ")[1])] == [1, 1, 1]


def test_labels_for_another_number_of_classes_are_refused() -> None:
    assert labels.fit(("a", "b"), 2, open_ended=False) == ("a", "b")
    for classes, open_ended in ((3, False), (1, False), (1, True)):
        with pytest.raises(UserError, match=f"each of the network's {classes} classes; got 2"):
            labels.fit(("a", "b"), classes, open_ended)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\x00"])
def test_a_file_without_labels_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "labels.txt").write_bytes(content)
    with pytest.raises(UserError, match=r"labels\.txt must"):
        labels.read([tmp_path / "labels.txt"])


@pytest.mark.parametrize("text", ["", "entry {}", 'entry { target_class: 99999999999 target_class_string: "n" }'])
def test_a_map_without_classes_or_with_impossible_ones_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "map.pbtxt").write_text(text)
    (tmp_path / "names.txt").write_text(NAMES)
    with pytest.raises(UserError, match="must hold labels; got none"):
        labels.read([tmp_path / "map.pbtxt", tmp_path / "names.txt"])


@pytest.mark.parametrize("number", ["1000000", "0" * 5000 + "1", "9" * 5000])
def test_a_map_with_a_number_that_no_class_has_is_refused(tmp_path: Path, number: str) -> None:
    (tmp_path / "map.pbtxt").write_text(MAP.replace("3\n", f"{number}\n"))
    (tmp_path / "names.txt").write_text(NAMES)
    with pytest.raises(UserError, match=r"map\.pbtxt must hold labels; got none"):
        labels.read([tmp_path / "map.pbtxt", tmp_path / "names.txt"])
