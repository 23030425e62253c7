"""The reason in TensorFlow's reports."""

from __future__ import annotations

import pytest
from windrow.scoring.network import graph_errors

IN_A_FUNCTION = """Graph execution error:

Detected at node DecodeJpeg defined at (most recent call last):
  File "/srv/worker.py", line 5, in <module>

  File "/srv/network.py", line 4, in f

Unknown image file format. One of JPEG, PNG required.
\t [[{{node DecodeJpeg}}]] [Op:__inference_f_6]"""
WITHOUT_STACK = """Graph execution error:

Detected at node 'DecodeJpeg' defined at (most recent call last):
<stack traces unavailable>
Node: 'DecodeJpeg'
jpeg::Uncompress failed. Invalid JPEG data or crop window.
\t [[{{node DecodeJpeg}}]] [Op:__inference_f_6]"""
TWO_ROOTS = """2 root error(s) found.
  (0) INVALID_ARGUMENT: Input is empty.
\t [[{{node network/DecodeJpeg}}]]
\t [[network/softmax/_3]]
  (1) INVALID_ARGUMENT: Input is empty.
\t [[{{node network/DecodeJpeg}}]]
0 successful operations.
0 derived errors ignored."""

WITH_CODE = """Graph execution error:

Detected at node Reshape defined at (most recent call last):
  File "/srv/network.py", line 4, in f
    y = tf.reshape(x, [4])

{{function_node __inference_f_6}} Input to reshape has 3 values.
\t [[{{node Reshape}}]] [Op:__inference_f_6]"""


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        (IN_A_FUNCTION, "Unknown image file format. One of JPEG, PNG required."),
        (WITHOUT_STACK, "jpeg::Uncompress failed. Invalid JPEG data or crop window."),
        (TWO_ROOTS, "Input is empty."),
        (WITH_CODE, "Input to reshape has 3 values."),
        (
            "{{function_node __wrapped__Add_device_/job:a/task:0/device:CPU:0}} Shapes differ. [Op:Add]",
            "Shapes differ.",
        ),
        ("Input is empty.\n\t [[{{node DecodeJpeg}}]]", "Input is empty."),
        ("Input to reshape is a tensor with 3 values,\nbut the shape has 7", None),
        ("Graph execution error:", "Graph execution error:"),
        ("", ""),
    ],
)
def test_the_reason_is_found_among_headings_and_places(message: str, reason: str | None) -> None:
    assert graph_errors.reason(message) == (message.replace("\n", " ") if reason is None else reason)


def test_a_long_reason_is_cut() -> None:
    assert len(graph_errors.reason("x" * 5000)) == 300
