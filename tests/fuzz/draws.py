"""Choices out of octets: what a fuzzer changes a little changes a choice or two."""

PIECE = 2
"""Octets that say how long a piece is."""


class Draws:
    """Taken from the front; when they are used up, every choice is the first."""

    def __init__(self, octets):
        self._octets = octets
        self._at = 0

    def __bool__(self):
        return self._at < len(self._octets)

    def octets(self, count):
        """At most so many."""
        begin, self._at = self._at, self._at + count
        return self._octets[begin : self._at]

    def octet(self):
        return self.number(1)

    def number(self, octets):
        return int.from_bytes(self.octets(octets), "big")

    def pick(self, choices):
        return choices[self.octet() % len(choices)]

    def piece(self):
        """Octets with their length before them."""
        return self.octets(self.number(PIECE))

    def rest(self):
        return self.octets(len(self._octets))


def piece(octets):
    """What `Draws.piece` reads."""
    return len(octets).to_bytes(PIECE, "big") + octets
