"""The kinds of journal entries: their ids and what `journalctl -x` says of each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The field HBD_EVENT."""

    STATE = "state"
    FLAPPING = "flapping"
    STORM = "storm"
    RELOAD = "reload"
    RELOAD_REFUSED = "reload-refused"
    START = "start"
    STOP = "stop"
    STALL = "stall"
    WAKE = "wake"
    RESTARTED = "restarted"
    SHARED = "shared"
    REFUSED = "refused"
    SNAPSHOT = "snapshot"
    LOST = "lost"
    WEATHER = "weather"


@dataclass(frozen=True, slots=True)
class KindText:
    """One row of the table; @FIELD@ in the texts is replaced by the entry's field."""

    message_id: str
    """Fixed for ever: users match on it."""
    subject: str
    body: str


KINDS: Final = {
    Kind.STATE: KindText(
        "37d9351fc0e84b4da269304e00d9b0b1",
        "Heartbeat peer @HBD_PEER@: @HBD_STATE@ (before: @HBD_PREVIOUS_STATE@)",
        "@HBD_MEANING@\n"
        "To tell apart: @HBD_APART@\n"
        "What to do: @HBD_ADVICE@\n"
        "Next:\n@HBD_COMMANDS@\n\n"
        "The evidence is in the field HBD_EVIDENCE; fresh evidence is gathered by\n"
        '"hbd explain @HBD_PEER@". The history: "journalctl HBD_PEER=@HBD_PEER@".',
    ),
    Kind.FLAPPING: KindText(
        "20efbfed097b40aa8e164fd5cbc6413d",
        "Heartbeat peer @HBD_PEER@: flapping",
        "The peer began or ceased to change its state again and again. While it does,\n"
        "its single changes are logged at priority info only; none is left out.\n"
        "What to do: see which cause returns, by\n"
        '"journalctl HBD_PEER=@HBD_PEER@ -o verbose", and look for a link that comes\n'
        "and goes, or for a timing that is set too tight.",
    ),
    Kind.STORM: KindText(
        "0631d3052e144759806385105c1d5353",
        "@HBD_COUNT@ heartbeat peers changed together: @HBD_COMMON@",
        "Many peers changed at once; the message names what they have in common, so\n"
        "look there first. Their own entries, but for the first five, are at priority info.",
    ),
    Kind.RELOAD: KindText(
        "64b35afaf3cd4cacba7a858eafac081c",
        "Configuration of hbd reloaded, @HBD_COUNT@ peers changed",
        "The new configuration is in use. Peers that did not change missed no heartbeat.",
    ),
    Kind.RELOAD_REFUSED: KindText(
        "1f3862a46cb24b3e9d9579f931266469",
        "Configuration of hbd refused",
        "The new configuration has mistakes, named in the field HBD_EVIDENCE; nothing\n"
        "changed, the old one stays in use.\n"
        'What to do: correct them, see "hbd check", then "systemctl reload hbd".',
    ),
    Kind.START: KindText(
        "8872c71c3dff46b7a8730fc27ad8fda2",
        "hbd started",
        "Peers get their first verdicts now. The field HBD_DURATION_USEC tells for how\n"
        "long nobody watched; reports count that as unknown time.",
    ),
    Kind.STOP: KindText(
        "55249e96af1144ed83fb06617e02f713",
        "hbd stopped",
        "Nobody watches the peers until hbd is started again.",
    ),
    Kind.STALL: KindText(
        "065767068d1145e1ba77e94ce93d21a2",
        "hbd did not run for a while",
        "This machine gave hbd no processor time: a paused virtual machine, a stopped\n"
        "process or an overloaded host. No peer is judged by what was missed meanwhile.\n"
        "What to do: where it happens often, give this machine more room.",
    ),
    Kind.WAKE: KindText(
        "c416d67d048a4a809f9771aa938451d1",
        "This machine was suspended",
        "Heartbeats that were in question are forgotten, and no peer is called down\n"
        "before start_grace: is over again.",
    ),
    Kind.RESTARTED: KindText(
        "fab9a7157d744150a237e805c1a142fb",
        "Heartbeat peer @HBD_PEER@ was restarted",
        "The peer answered all along, but it is not the same incarnation any more: its\n"
        "machine was booted or its hbd started anew.",
    ),
    Kind.SHARED: KindText(
        "79c944954e7648d9948cf560779104a4",
        "Heartbeat peer @HBD_PEER@ is several machines that answer in turn",
        "An hbd that had been replaced by another one answers again at the same address:\n"
        "two machines have it, or one takes over from the other, or something on the way\n"
        "spreads heartbeats over several. While one of them answers, the peer is up. This\n"
        "is said once.\n"
        'What to do: see whose it is: "ip neigh show @HBD_ADDRESS@" here, again and again,\n'
        '"arping -D" on the link. Where it is meant, watch each machine by its own address.',
    ),
    Kind.REFUSED: KindText(
        "e9445513ea514aebb7245596bfd0c3d8",
        "Heartbeats from @HBD_ADDRESS@ refused",
        "Somebody sends heartbeats from an address that is not listed, or its key: and ours\n"
        "differ, or one end has none; they are not answered. This is said once for each\n"
        "source, and of a key again after it has changed here.\n"
        "What to do: if it should watch this machine, add it to peers: or accept:, or give\n"
        'both ends the same key, see "hbd keygen".',
    ),
    Kind.SNAPSHOT: KindText(
        "ac21cd5bcdc94fbfb1aaa001ccb3f862",
        "The states of all heartbeat peers",
        'Written at start, reload and stop and once a day, for "hbd report".',
    ),
    Kind.LOST: KindText(
        "c23bfe9b9dba44d79ce7d7e26ef58b4a",
        "@HBD_COUNT@ entries of hbd were lost",
        "The journal did not take entries for so long that some had to be dropped; the\n"
        'states themselves are right, see "hbd status".\n'
        'What to do: see why journald hung: "journalctl -u systemd-journald", a full disk.',
    ),
    Kind.WEATHER: KindText(
        "e85a49a0b52b423eb9c3eec411985014",
        "hbd runs with a limitation",
        "Something around hbd is not as it should be; the message says what, and what\n"
        "to do about it. hbd goes on without it.",
    ),
}
