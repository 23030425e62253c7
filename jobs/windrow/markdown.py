"""Write text of a user's, such as the name of a class, so that Markdown shows it as it is.

MLflow's pages and Airflow's notes render Markdown: without this, a class `*_*` is a line, and one with `|` a column.
"""

from __future__ import annotations

import re

_MARKS = re.compile(
    r"[\\`*\[\]<>|$]"
    r"|(?<!\s)~|~(?!\s)"
    r"|(?<![^\W_])_|_(?![^\W_])"  # within a word, an underscore is none
    r"|&(?=#?\w+;)"
    r"|(?m:^)[ \t]*(?:[#+=-](?=[\s#+=-]|$))"
    r"|(?m:(?<=^\d)|(?<=^\d\d)|(?<=^\d\d\d))[.)](?=\s|$)"
)


def escaped(text: str) -> str:
    """Return Markdown that shows a text as it is."""
    return _MARKS.sub(lambda found: f"{found[0][:-1]}\\{found[0][-1]}", text)
