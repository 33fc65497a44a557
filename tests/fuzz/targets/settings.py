"""Every key with every kind of value, in any place: shapes that octets take long to become."""

import json

from hbd.config.files import MAIN_KEYS, PART_KEYS
from hbd.config.protocols import EVERY, PEER_KEYS
from hbd.config.values import UNITS
from tests.fuzz.draws import Draws
from tests.fuzz.targets._reading import KEY, read

LONGEST = 400
DEEPEST = 4
WORDS = (
    *"a b1 gw db1 ~ null no on auto any peers none - << fleet nobody".split(),
    *"0 1 -1 010 3 255 256 862 3784 65535 65536 1.5 1.0000000000000001 1e3 0x10 nan .inf".split(),
    *"1s 50ms 49ms 1h 1.5s 0s 5 5s5 1us 5% 0% 100.000001%".split(),
    *"192.0.2.1 192.0.2.2 fd00::1 fe80::1 fe80::1%eth0 ::ffff:192.0.2.1 ff02::1 0.0.0.0".split(),
    *"127.1 example.net 10.0.0.0/8 10.0.0.1/8 ::/0 192.0.2.1:862 [::1]:862 [::]:0".split(),
    *"0.0.0.0:862 0.0.0.0:3784 eth0 lo /a /etc/hbd.d/a.key a.yaml *.yaml loop.yaml".split(),
    *"empty.d/* [ [!a]* missing/* hbd.yaml ?.yaml */* keyed-sha1 meticulous-sha1".split(),
    *r"stateful stateless \r\n \x \xff \q credential file topic message qos retain".split(),
    *("", "1w 1d", "9" * 19, "9" * 5_000, KEY, *EVERY),
)
MAIN, PART, PEER = (*MAIN_KEYS, *PART_KEYS), PART_KEYS, PEER_KEYS
EXTRA = ("credential", "file", "topic", "message", "qos", "retain", "interval", "timeout", "fleet")


def seeds():
    named = [bytes([0, 1, *([protocol] * 3)]) for protocol in range(6)]
    odd = [bytes([1, 2, 1, key, form, 7]) * 3 for key in range(40) for form in range(0, 9, 2)]
    return [*named, *odd]


def run(octets):
    draws = Draws(octets)
    text = _peers(draws) if draws.octet() & 1 else _mapping(draws, MAIN, 0)
    read(text.encode("utf-8", "surrogatepass"))


def _peers(draws):
    """Peers that are nearly right: only so are the rules between keys and peers reached."""
    peers = []
    for number in range(draws.octet() % 4 + 1):
        entries = [
            ("name", _or("abcd"[number], draws)),
            ("address", _or(f"192.0.2.{number + 1}", draws)),
            ("protocol", draws.pick(EVERY)),
        ]
        entries += [(draws.pick(PEER), _value(draws, 1)) for _ in range(draws.octet() % 6)]
        peers.append(_braces(entries[draws.octet() % 2 :], draws))
    main = [("peers", f"[{', '.join(peers)}]"), ("keys", "{fleet: {file: /k}}")]
    main += [(draws.pick(MAIN), _value(draws, 1)) for _ in range(draws.octet() % 3)]
    return _braces(main, draws)


def _or(usual, draws):
    return usual if draws.octet() % 4 else _value(draws, 2)


def _value(draws, depth):
    kind = draws.octet() % 16
    if depth < DEEPEST:
        match kind:
            case 1 | 2:
                return f"[{', '.join(_value(draws, depth + 1) for _ in range(draws.octet() % 4))}]"
            case 3 | 4 | 5:
                return _mapping(draws, (EXTRA, PEER, MAIN)[kind - 3], depth + 1)
            case 6:
                return f"&a {_value(draws, depth + 1)}"
    return _scalar(kind, draws)


def _scalar(kind, draws):
    word = draws.pick(WORDS)
    texts = {
        7: lambda: json.dumps(_text(draws)),
        8: lambda: "*a",
        9: lambda: f"{draws.number(draws.octet() % 5)}{draws.pick(tuple(UNITS))}",
        10: lambda: str(draws.number(draws.octet() % 9)),
        11: lambda: json.dumps(chr(draws.number(2)) * (draws.octet() % 9) + word),
        12: lambda: f"'fe80::1%{_text(draws)}'",
        13: lambda: '"' + word * (draws.octet() % 4 or 1) + '"',
    }
    return texts.get(kind, lambda: json.dumps(word) if kind & 1 else word)()


def _text(draws):
    return draws.octets(draws.octet() % 32).decode("utf-8", "replace")


def _mapping(draws, keys, depth):
    entries = []
    for _ in range(draws.octet() % 5):
        key = draws.pick(keys) if draws.octet() % 8 else json.dumps(draws.pick(WORDS))
        entries.append((key, _value(draws, depth)))
    return _braces(entries, draws)


def _braces(entries, draws):
    if entries and not draws.octet() % 16:
        entries = [*entries, entries[0]]
    return "{" + ", ".join(f"{key}: {value}" for key, value in entries) + "}"
