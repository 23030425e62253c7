"""Find the reason in what TensorFlow reports about a graph that failed."""

from __future__ import annotations

import re

_LONGEST = 300
# After the reason: the node, and the operation.
_PLACE = re.compile(r"(\[\[\{\{node|\[Op:|Hint: |Original stack trace for)")
# Before it: headings, and the Python code that made the node.
_HEADING = re.compile(
    r"Graph execution error|Detected at node|Defined at|<stack traces unavailable>|Node: |File \"|\d+ root error|$"
)
# Within it: the name of the function, and a line of Python with its place.
_ASIDE = re.compile(r"\{\{function_node [^}]*\}\} ?|^ *File \"[^\n]*\n {4,}[^\n]*$", re.MULTILINE)
_NUMBER = re.compile(r"\(\d+\) ([A-Z_]+: )?")


def reason(message: str) -> str:
    """Return the reason, on one line, of at most 300 characters; the whole message if it has no such part.

    Args:
        message: of a tf.errors.OpError, such as "Graph execution error:", then the node and where it was made, then the
            reason, then the node again.
    """
    told = _ASIDE.sub("", _PLACE.split(message)[0])
    lines = [line.strip() for line in told.splitlines()]
    kept = [_NUMBER.sub("", line, count=1) for line in lines if not _HEADING.match(line)]
    return " ".join(" ".join(kept or [message]).split())[:_LONGEST]
