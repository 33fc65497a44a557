"""BFD's packets as octets: what is read is written again as it came."""

from hbd.core.bfd_words import BROKEN_RULES
from hbd.wire import bfd
from hbd.wire.errors import WireError
from tests.fuzz.seeds import PACKETS

SECRET = b"hbdsecret"


def seeds():
    return PACKETS


def run(octets):
    whose = bfd.addressee(octets)
    assert (whose is None) == (len(octets) < bfd.SIZE)
    try:
        packet = bfd.parse(octets)
    except WireError as error:
        assert error.reason in BROKEN_RULES
        return
    assert packet.your_discriminator == whose
    length = octets[3]
    if packet.auth is None:
        assert bfd.pack(packet) == octets[:3] + bytes([bfd.SIZE]) + octets[4 : bfd.SIZE]
    elif packet.auth.kind in bfd.SHA1_KINDS:
        _signed(packet, octets, length)


def _signed(packet, octets, length):
    written = bfd.pack(packet, SECRET)
    assert bfd.verifies(written, SECRET)
    assert bfd.parse(written) == packet
    # The octet that must be zero may be another one in what came, and so is its hash.
    same = length == bfd.SHA1_SIZE and written == octets[: bfd.SHA1_SIZE]
    assert bfd.verifies(octets, SECRET) is same or octets[27]
    longer = octets[:32] + bytes(20) + octets[52:length]
    assert not bfd.verifies(longer, SECRET)
