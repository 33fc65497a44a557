"""Whatever is in the file of a key or a password: it is used or refused, and never told."""

from hbd.config import keys, passwords

PLACE = "/etc/hbd.d/fleet.key"


def seeds():
    key = b"00112233445566778899aabbccddeeff" * 2
    return [
        key + b"\n",
        key + b"\r\n" + key[::-1] + b"\n",
        b"  " + key + b"\t\n\n",
        key[:-1],
        key + b"\x0c" + key,
        b"s3cret\n",
        b"two\nlines\n",
        b"\xff\xfe\0",
        b"x" * 513,
    ]


def run(octets):
    try:
        key = keys.parse(PLACE, octets)
    except keys.KeyFileError as error:
        _look_at(error)
    else:
        assert key.sign == key.accept[0]
        assert 1 <= len(key.accept) <= 2
        assert [each.hex().encode() for each in key.accept] == octets.lower().split()
        assert all(each.hex() not in repr(key) for each in key.accept)
    try:
        password = passwords.parse(PLACE, octets)
    except keys.KeyFileError as error:
        _look_at(error)
    else:
        assert 1 <= len(password) <= passwords.MAX_OCTETS
        assert octets in {password + end for end in (b"", b"\n", b"\r\n", b"\r")}


def _look_at(error):
    words = str(error)
    assert words.startswith(PLACE)
    assert words.isascii()
    assert len(words) < 150
