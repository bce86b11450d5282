"""C calls that hold the GIL from beginning to end: encoding and decoding JSON."""

import functools
import json


@functools.lru_cache(maxsize=2)  # they are large
def _document(kilobytes: int) -> list[dict[str, object]]:
    record = {
        "id": 0,
        "name": "Ada Lovelace",
        "tags": ["gil", "loop", "thread"],
        "score": 0.5,
        "active": True,
    }
    size = len(json.dumps(record))
    return [{**record, "id": index} for index in range(max(1, kilobytes * 1000 // size))]


def json_roundtrip(kilobytes: int) -> int:
    """Encode and decode a document of about ``kilobytes`` kB; return its exact size in characters."""
    text = json.dumps(_document(kilobytes))
    json.loads(text)
    return len(text)
