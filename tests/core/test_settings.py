"""What follows from the settings of one peer."""

import pytest

from hbd.core.model import MILLISECOND, SECOND, BfdOptions, Expectation, PeerSettings, Timing

ASKED = Timing(interval=1 * SECOND, timeout=500 * MILLISECOND, retries=3)


@pytest.mark.parametrize(
    ("settings", "detection"),
    [
        (PeerSettings("a", ("10.0.0.1",), timing=ASKED), 3 * SECOND),
        (PeerSettings("a", (), expect=Expectation(4 * SECOND, grace=2.5)), 10 * SECOND),
        (PeerSettings("a", ("10.0.0.1",), protocol="bfd", bfd=BfdOptions(5)), 5 * SECOND),
    ],
    ids=["asked", "told", "agreed"],
)
def test_how_long_silence_takes_to_be_noticed(settings, detection):
    """By the rule of its kind: retransmissions, grace, or the multiplier."""
    assert settings.detection == detection
