"""The targets of `make fuzz`, a module each.

A module has the function `check`, which raises for bytes that break a promise, and three constants: SEEDS, the inputs
that fuzzing starts from; TOKENS, words that are worth inserting; LONGEST, the most bytes of an input. One whose inputs
have lengths, checksums or packings has a function `layer` as well, which layers.py explains.
"""

from __future__ import annotations

INSTRUMENTED = {
    "answer": ["windrow.scoring.fetch", "aiohttp"],
    "archive": ["windrow.scoring.network.unpacking", "tarfile", "zipfile"],
    "channel": ["windrow.channel", "windrow.sweep.leased_job", "windrow.sweep.outcomes", "windrow.scoring.progress"],
    "decode": ["windrow.data.image", "windrow.data.image_files", "windrow.scoring.network.pixels", "PIL"],
    "download": ["windrow.data.download", "requests", "urllib3", "http"],
    "feed": ["windrow.scoring.feed", "windrow.scoring.fetch.urls"],
    "idx": ["windrow.data.idx", "gzip"],
    "page": ["windrow.experiment", "yaml", "croniter"],
    "robots": ["windrow.scoring.fetch.robots", "protego"],
    "text": ["windrow.text_files"],
    "weights": ["windrow.model.backbones.torch_file"],
    "urls": [
        "windrow.scoring.fetch.urls",
        "windrow.scoring.fetch.host_names",
        "windrow.scoring.fetch.addresses",
        "idna",
    ],
}
"""Targets, each with the packages whose lines and branches guide the search. Code in C is run, and guides nothing."""
