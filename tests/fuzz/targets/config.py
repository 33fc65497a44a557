"""Any octets as hbd.yaml: a configuration, or mistakes that can be told."""

from hbd.config.files import MAIN_KEYS, PART_KEYS
from hbd.config.protocols import PEER_KEYS
from tests.fuzz.seeds import CONFIGURATIONS
from tests.fuzz.targets._reading import read

DICTIONARY = [
    *(f"{key}: ".encode() for key in (*MAIN_KEYS, *PART_KEYS, *PEER_KEYS)),
    *(b"- ", b"{}", b"[]", b"&a ", b"*a", b"<<: ", b"!!str ", b"---", b"...", b"? ", b"| "),
    *(b"1s", b"5%", b"192.0.2.1", b"fd00::1", b"fe80::1%eth0", b'"\\x00"', b'"\\ud800"'),
    *(b">-\n", b"%YAML 1.1\n"),
    *("\u2028".encode(), "\x85".encode(), "\ufeff".encode(), b"\r", b"\0", b"\xed\xa0\x80"),
]


def seeds():
    return CONFIGURATIONS


def run(octets):
    if b"include" in octets:
        # What is on this machine is nobody's to read here.
        octets = octets.replace(b"/", b"_").replace(b"..", b"_")
    read(octets)
