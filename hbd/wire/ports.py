"""Ports of the protocols, where nothing else is said."""

from typing import Final

STAMP: Final = 862
"""RFC 8762 4.1.1, RFC 8545."""
BFD: Final = 3784
"""Of a single hop, RFC 5881 4."""
BFD_MULTIHOP: Final = 4784
"""RFC 5883 5."""
MQTT: Final = 1883
MQTT_OVER_TLS: Final = 8883
"""IANA."""
OTHER: Final = 12345
"""Of heartbeats in no protocol, UDP or TCP: nobody has registered it."""
