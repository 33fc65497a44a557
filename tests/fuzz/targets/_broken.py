"""What a promise looks like that is broken, for the test of the runner."""


def seeds():
    return [b"all is well", b"!"]


def run(octets):
    assert not octets.startswith(b"!"), "it was said to be broken"
