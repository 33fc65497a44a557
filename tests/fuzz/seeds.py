"""What the fuzzer begins with: what the other tests have seen and written."""

import json
from pathlib import Path

TESTS = Path(__file__).parent.parent


def _captured(pattern, *fields):
    found = []
    for file in sorted((TESTS / "wire/vectors").glob(pattern)):
        told = json.loads(file.read_text())
        for one in (*told.get("packets", ()), *told.get("exchanges", ())):
            found += [bytes.fromhex(one[field]) for field in fields if one.get(field)]
    return sorted(set(found))


DATAGRAMS = _captured("*.json", "udp_payload_hex", "request_hex", "reply_hex")
"""Of STAMP."""
PACKETS = _captured("bfd/*.json", "payload_hex")
"""Of BFD."""
CONFIGURATIONS = [
    file.read_bytes()
    for pattern in ("config/good/**/*.yaml", "config/mistakes/*.yaml", "../etc/*.yaml")
    for file in sorted(TESTS.glob(pattern))
    if file.stat().st_size < 4_000
]
