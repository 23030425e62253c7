"""No pattern that reads bytes of strangers takes long for any of them: its time grows no faster than its text."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

import pytest
from windrow import markdown
from windrow.data.image_files import content, jpeg_file
from windrow.scoring.feed import carried, csv_dialects, csv_records, file_bytes, file_forms
from windrow.scoring.fetch import host_names, robots, urls
from windrow.scoring.network import graph_errors, labels

LENGTH = 50_000
_MATCHED: dict[str, tuple[re.Pattern[str], str]] = {
    "a host's name": (host_names._NAME, "fullmatch"),
    "a host of numbers": (host_names._NUMERIC, "search"),
    "a URL's control characters": (urls._CONTROLS, "search"),
    "a URL's scheme": (urls._SCHEME, "match"),
    "a URL's host and port": (urls._PLACE, "fullmatch"),
    "a URL's user": (urls._USER, "search"),
    "a URL's escapes": (urls._ESCAPES, "findall"),
    "a normalised URL's host": (urls._HOST_OF, "match"),
    "a normalised URL's origin": (urls._ORIGIN_OF, "match"),
    "a line of a robots.txt": (robots._LINE, "match"),
    "an agent of a robots.txt": (robots._PRODUCT, "match"),
    "a URL in a feed": (csv_records.URL, "match"),
    "a CSV's quotes": (csv_records._QUOTE_OR_ESCAPE, "findall"),
    "lines of a CSV's value": (csv_records._LINE_END, "split"),
    "a CSV's header": (csv_dialects._ANY_DELIMITER, "split"),
    "what follows a URL in a CSV": (csv_dialects._REST_OF_URL, "search"),
    "Excel's separator": (csv_dialects._SEPARATOR, "match"),
    "the levels of a JSON record": (carried._STRUCTURE, "findall"),
    "a label map's entry": (labels._ENTRY, "findall"),
    "a network's error": (graph_errors._PLACE, "split"),
    "a class's name in Markdown": (markdown._MARKS, "findall"),
}
PATTERNS: dict[str, Callable[[str], object]] = {
    name: getattr(pattern, method) for name, (pattern, method) in _MATCHED.items()
}
for _name, _pattern in {
    "an image's segments": jpeg_file._MARK,
    "an image's scans": jpeg_file._MARK_IN_PIXELS,
    "bytes that are no text": content._NO_TEXT,
    "a plain URL in UTF-16": file_bytes._PLAIN_URL,
    "a URL in UTF-16": file_bytes._WIDE_URL,
    "a line of a feed": file_forms._URL,
    "more in a line of a feed": file_forms._MORE,
    "a column after a URL in a feed": file_forms._COLUMN,
    "a list in JSON": file_forms._LIST,
    "bytes that no feed has": file_forms._NO_TEXT,
    **{f"{kind}'s beginning": pattern for kind, pattern in content._KNOWN},
}.items():
    PATTERNS[_name] = lambda text, search=_pattern.search: search(text.encode("latin-1"))
PATTERNS["the first line of an old Mac's CSV"] = lambda text: csv_records._OLD_MAC.match(text.encode("latin-1"))
PARTS = [
    *(" ", "\t ", "\n", "a", ".", "a.", "-", "1", "0x", ":", "::", "[", "[]", "%", "%4", "\\", "/", "@", "#", "*", "_"),
    *(
        "<",
        "<!-- -->",
        "http://",
        "http://a",
        "//",
        "//a:1",
        "\xff",
        "\xff\0",
        "\xff\xd0",
        "\0",
        "RIFF",
        "ftyp",
        "`",
        "](",
    ),
    *(
        '""',
        '\\"',
        '",',
        ",",
        ";",
        "\r",
        "sep=",
        'sep=;"',
        ".jpg,",
        ".jpg,.",
        "https",
        "h\0t\0t\0p\0",
        "h\0t\0t\0p\0:\0/\0",
        ".jpg",
    ),
    *("user agent", "user-agent ", "disallow", "d", "allow:", "crawl-delay ", "Windrow"),
    *("target_class", "target_class : 1 ", 'target_class:1 target_class_string:"', '"', "[[{{node ", "[Op:", "Hint: "),
]


@pytest.mark.parametrize("name", PATTERNS)
def test_a_pattern_takes_no_long_time_for_any_text(name: str) -> None:
    """A pattern that tries all ways to divide a text takes a minute here, and one that looks at each byte once 1 ms."""
    read = PATTERNS[name]
    for part in PARTS:
        for begin in ("", "http://", "0"):
            text = begin + part * (LENGTH // len(part)) + "\x01"
            begun = time.process_time()
            read(text)
            assert time.process_time() - begun < 1, f"{begin!r} and {part!r} again and again"
