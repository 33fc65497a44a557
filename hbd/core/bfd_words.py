"""What is told of BFD packets: causes and words."""

from __future__ import annotations

from typing import Final

from hbd.core.model import Cause
from hbd.wire.bfd import AuthKind, Diag

COMPLAINTS: Final[dict[int, tuple[Cause, str]]] = {
    Diag.NONE: (Cause.BFD_NO_DIAGNOSTIC, "down, no diagnostic"),
    Diag.EXPIRED: (Cause.BFD_EXPIRED, "control detection time expired"),
    Diag.ECHO_FAILED: (Cause.BFD_ECHO_FAILED, "echo function failed"),
    Diag.SIGNALED_DOWN: (Cause.BFD_SIGNALED_DOWN, "neighbor signaled session down"),
    Diag.FORWARDING_RESET: (Cause.BFD_FORWARDING_RESET, "forwarding plane reset"),
    Diag.PATH_DOWN: (Cause.BFD_PATH_DOWN, "path down"),
    Diag.CONCATENATED_DOWN: (Cause.BFD_CONCATENATED_DOWN, "concatenated path down"),
    Diag.ADMIN_DOWN: (Cause.BFD_NO_DIAGNOSTIC, "administratively down until now"),
    Diag.REVERSE_DOWN: (Cause.BFD_REVERSE_DOWN, "reverse concatenated path down"),
}
"""What a peer says that is Down (4.1)."""
UNKNOWN_COMPLAINT: Final = (Cause.BFD_NO_DIAGNOSTIC, "an unknown diagnostic")

AUTH_NAMES: Final[dict[int, str]] = {
    AuthKind.PASSWORD: "a simple password",
    AuthKind.KEYED_MD5: "keyed MD5",
    AuthKind.METICULOUS_MD5: "meticulous keyed MD5",
    AuthKind.KEYED_SHA1: "keyed SHA1",
    AuthKind.METICULOUS_SHA1: "meticulous keyed SHA1",
}

BROKEN_RULES: Final = {
    "short": "packets shorter than 24 octets, which is no BFD",
    "version": "packets of another version than 1",
    "length": "packets whose Length is less than their header",
    "truncated": "packets cut off: less came than their Length says",
    "multiplier": "packets with a Detect Mult of 0",
    "multipoint": "packets with the Multipoint bit",
    "discriminator": "packets whose own discriminator is 0",
    "your-discriminator": "packets without our discriminator in a state that takes it",
    "auth-length": "packets whose authentication section has the wrong length",
}
"""Reasons of WireError."""
