"""The HMAC of authenticated mode."""

import hmac

from hypothesis import example, given
from hypothesis import strategies as st

from hbd.wire.auth import Key


@given(st.binary(max_size=200), st.binary(max_size=200))
@example(bytes(range(64)), b"a whole block")
@example(bytes(range(65)), b"longer than a block")
def test_signature_is_hmac_sha256(secret, message):
    """A signature is the first 16 octets of what the standard library's HMAC says, for any key."""
    assert Key(secret).sign(message) == hmac.digest(secret, message, "sha256")[:16]


@given(st.binary(min_size=16, max_size=16), st.integers(0, 127))
def test_one_bit_spoils_a_signature(message, bit):
    """A message is verified by its own signature, and by none that differs in a bit."""
    key = Key(b"secret")
    mac = key.sign(message)
    assert key.verifies(message, mac)
    assert not key.verifies(message, (int.from_bytes(mac, "big") ^ 1 << bit).to_bytes(16, "big"))
    assert not Key(b"other").verifies(message, mac)


def test_a_shorter_signature_is_none():
    """The beginning of a signature does not pass for it, nor does nothing."""
    key = Key(b"secret")
    assert not key.verifies(b"message", key.sign(b"message")[:15])
    assert not key.verifies(b"message", b"")
