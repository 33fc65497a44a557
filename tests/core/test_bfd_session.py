"""A BFD session, rule by rule (RFC 5880 6.7, 6.8); times are nanoseconds."""

from random import Random

import pytest

from hbd.core.bfd import BfdSession
from hbd.core.bfd_timing import STALL_MEMORY
from hbd.core.model import MILLISECOND, SECOND, BfdAuth, BfdOptions, Cause, PeerSettings, Timing
from hbd.core.session import Fact, Heard
from hbd.wire import bfd
from hbd.wire.bfd import Auth, AuthKind, Diag, Packet, State

ADMIN_DOWN, DOWN, INIT, UP = State
MINE, YOURS = 0x11111111, 0x22222222
INTERVAL = 100 * MILLISECOND
SECRET = b"hbdsecret"
LONG_AGO = 3600 * SECOND


class Loaded:
    """Dice that always fall the same."""

    def __init__(self, number=0.0, bits=0xFFFFFFFE):
        self.number, self.bits = number, bits

    def random(self):
        return self.number

    def getrandbits(self, k):
        return self.bits & ((1 << k) - 1)


def session_with(*, interval=INTERVAL, dice=None, **options):
    options = BfdOptions(**options)
    secret = None if options.auth is BfdAuth.NONE else SECRET
    return BfdSession(options, interval, dice or Loaded(), MINE, secret)


def settings(interval=INTERVAL, **options):
    return PeerSettings(
        "router",
        ("192.0.2.1",),
        protocol="bfd",
        timing=Timing(interval=interval),
        bfd=BfdOptions(**options),
    )


def packet(state, **changes):
    """What the router says; it has heard us, and is set up as we are."""
    said = Packet(
        diag=Diag.NONE,
        state=state,
        poll=False,
        final=False,
        control_plane_independent=False,
        demand=False,
        multiplier=3,
        my_discriminator=YOURS,
        your_discriminator=MINE,
        desired_min_tx_usec=100_000 if state is UP else 1_000_000,
        required_min_rx_usec=100_000,
    )
    return said._replace(**changes)


def hear(session, state, *, real=0, **changes):
    heard = session.read(bfd.pack(packet(state, **changes)), real, 255, 0)
    assert isinstance(heard, Heard)
    return heard


def say(session, real=0):
    return bfd.parse(session.compose(real))


def session_in(state, **options):
    """Give a session in this state, whose Poll Sequence is over."""
    session = session_with(**options)
    if state is ADMIN_DOWN:
        session.pause(on=True)
    if state in (INIT, UP):
        hear(session, DOWN)
    if state is UP:
        hear(session, INIT)
        say(session)
        hear(session, UP, final=True)
        hear(session, UP)
    assert session.state is state
    return session


def everything(thing):
    """Give all that a session remembers."""
    if not hasattr(thing, "__slots__") or isinstance(thing, (tuple, State, Loaded)):
        return thing
    return {name: everything(getattr(thing, name)) for name in thing.__slots__ if name != "_dice"}


# -- the states ------------------------------------------------------------------------------------

RFC_5880_6_8_6 = {
    (ADMIN_DOWN, ADMIN_DOWN): ADMIN_DOWN,
    (ADMIN_DOWN, DOWN): ADMIN_DOWN,
    (ADMIN_DOWN, INIT): ADMIN_DOWN,
    (ADMIN_DOWN, UP): ADMIN_DOWN,
    (DOWN, ADMIN_DOWN): DOWN,
    (DOWN, DOWN): INIT,
    (DOWN, INIT): UP,
    (DOWN, UP): DOWN,
    (INIT, ADMIN_DOWN): DOWN,
    (INIT, DOWN): INIT,
    (INIT, INIT): UP,
    (INIT, UP): UP,
    (UP, ADMIN_DOWN): DOWN,
    (UP, DOWN): DOWN,
    (UP, INIT): UP,
    (UP, UP): UP,
}


@pytest.mark.parametrize(("states", "then"), RFC_5880_6_8_6.items())
def test_state_follows_the_table(states, then):
    """Each of the 16 cells: the next state, its diagnostic, and that a change is told at once."""
    ours, theirs = states
    session = session_in(ours)
    before = session.diag
    heard = hear(session, theirs)
    assert session.state is then
    assert heard.is_up == (then is UP)
    assert heard.reply == (then is not ours)
    lost = ours in (INIT, UP) and then is DOWN
    assert session.diag == (Diag.SIGNALED_DOWN if lost else before)
    assert say(session).state is then


def test_session_begins_down_and_says_little():
    """The first packet: Down, no diagnostic, no discriminator of the peer, one second."""
    assert say(session_with(multiplier=5)) == packet(
        DOWN, my_discriminator=MINE, your_discriminator=0, multiplier=5
    )


@pytest.mark.parametrize("state", [INIT, UP])
def test_silent_peer_is_down(state):
    """When the Detection Time is over: Down, diag 1, and the peer's discriminator is forgotten."""
    session = session_in(state)
    assert session.expire()
    assert say(session) == packet(
        DOWN, diag=Diag.EXPIRED, my_discriminator=MINE, your_discriminator=0
    )


@pytest.mark.parametrize("state", [DOWN, ADMIN_DOWN])
def test_silence_changes_no_state_but_of_a_session(state):
    """Without a session the silence of a peer only makes us forget its discriminator (6.8.1)."""
    session = session_in(state)
    hear(session, ADMIN_DOWN if state is DOWN else UP)
    before = session.diag
    assert say(session).your_discriminator == YOURS
    assert not session.expire()
    assert (session.state, session.diag) == (state, before)
    assert say(session).your_discriminator == 0


def test_reason_of_a_failure_is_told_until_the_session_is_up():
    """Init still says why the session before it failed; Up has no reason."""
    session = session_in(UP)
    session.expire()
    hear(session, DOWN)
    assert (say(session).state, say(session).diag) == (INIT, Diag.EXPIRED)
    hear(session, UP)
    assert say(session).diag == Diag.NONE


@pytest.mark.parametrize("state", State)
def test_pause_is_told(state):
    """A paused session says AdminDown with diag 7 every second, whatever it hears."""
    session = session_in(state)
    assert session.pause(on=True)
    for heard in State:
        said = say(session)
        assert (said.state, said.diag, said.poll) == (ADMIN_DOWN, Diag.ADMIN_DOWN, False)
        assert session.spacing() == SECOND
        assert hear(session, heard, poll=True) == Heard(is_up=False, reply=False, fault=None)
        assert not say(session).final  # discarded (6.8.6)


def test_end_of_a_pause_is_down():
    """After a pause the session is Down without a diagnostic, and comes up as ever."""
    session = session_in(UP)
    session.pause(on=True)
    session.pause(on=False)
    assert (say(session).state, say(session).diag) == (DOWN, Diag.NONE)
    hear(session, DOWN)
    assert hear(session, UP).is_up


@pytest.mark.parametrize("state", [DOWN, INIT, UP])
def test_end_of_no_pause_changes_nothing(state):
    """Where there is no pause there is none to end."""
    session = session_in(state)
    session.pause(on=False)
    assert session.state is state


def test_final_that_is_owed_ends_with_a_pause():
    """A Poll from before a pause is not answered in it."""
    session = session_in(UP)
    hear(session, UP, poll=True)
    session.pause(on=True)
    assert not say(session).final


# -- what the peer says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("diag", "cause", "words"),
    [
        (0, Cause.BFD_NO_DIAGNOSTIC, "down, no diagnostic (diag 0)"),
        (1, Cause.BFD_EXPIRED, "control detection time expired (diag 1)"),
        (2, Cause.BFD_ECHO_FAILED, "echo function failed (diag 2)"),
        (3, Cause.BFD_SIGNALED_DOWN, "neighbor signaled session down (diag 3)"),
        (4, Cause.BFD_FORWARDING_RESET, "forwarding plane reset (diag 4)"),
        (5, Cause.BFD_PATH_DOWN, "path down (diag 5)"),
        (6, Cause.BFD_CONCATENATED_DOWN, "concatenated path down (diag 6)"),
        (7, Cause.BFD_NO_DIAGNOSTIC, "administratively down until now (diag 7)"),
        (8, Cause.BFD_REVERSE_DOWN, "reverse concatenated path down (diag 8)"),
        (9, Cause.BFD_NO_DIAGNOSTIC, "an unknown diagnostic (diag 9)"),
        (31, Cause.BFD_NO_DIAGNOSTIC, "an unknown diagnostic (diag 31)"),
    ],
)
def test_diagnostic_of_a_peer_that_is_down_is_the_cause(diag, cause, words):
    """A peer that says Down says why, in the words of RFC 5880 4.1."""
    session = session_in(UP)
    heard = hear(session, DOWN, diag=diag)
    assert heard == Heard(is_up=False, reply=True, fault=Fact(cause, f"the router says: {words}"))
    assert session.remote_state is DOWN


@pytest.mark.parametrize("diag", [0, 7])
def test_admin_down_of_the_peer_is_no_failure(diag):
    """A peer that says AdminDown has left, whatever its diagnostic."""
    words = f"the router says: administratively down (diag {diag})"
    heard = hear(session_in(UP), ADMIN_DOWN, diag=diag)
    assert heard.fault == Fact(Cause.BFD_ADMIN_DOWN, words)


@pytest.mark.parametrize("state", [INIT, UP])
def test_diagnostic_of_a_peer_that_lives_is_history(state):
    """A diagnostic beside Init or Up is of a session before."""
    assert hear(session_in(UP), state, diag=1).fault is None


def test_peer_that_begins_anew_is_believed():
    """A peer that restarts says Down with another discriminator and knows none of ours."""
    session = session_in(UP)
    assert not hear(session, DOWN, my_discriminator=7, your_discriminator=0).is_up
    assert say(session).your_discriminator == 7


def test_both_may_draw_the_same_discriminator():
    """A peer's own discriminator may be ours, as between two FRRs."""
    session = session_with()
    hear(session, DOWN, my_discriminator=MINE, your_discriminator=0)
    assert hear(session, UP, my_discriminator=MINE).is_up


# -- our own stall ---------------------------------------------------------------------------------

PEER_BEARS = 2 * INTERVAL
"""It times us out for three; the third may be one that was lost, or is still under way."""
FOUR_ASKED_FOR = 4 * 400 * MILLISECOND
WORDS = "the router says: control detection time expired (diag 1)"


def blamed_after(silence, *, later):
    """Fall silent, go on, and be told so much later that the peer timed us out."""
    session = session_in(UP)
    say(session, 0)
    for now in range(silence, silence + later + 1, INTERVAL):
        say(session, now)
    return hear(session, DOWN, diag=1, real=silence + later).fault


@pytest.mark.parametrize("later", [0, SECOND, STALL_MEMORY])
def test_peer_that_timed_us_out_for_our_silence_is_right(later):
    """diag 1 soon after a silence of ours, of all it bears but one interval, is our stall."""
    gap = "we ourselves sent nothing for 200 ms"
    assert blamed_after(PEER_BEARS, later=later) == Fact(Cause.OWN_STALL, f"{WORDS}; {gap}")


@pytest.mark.parametrize(
    ("silence", "later"), [(PEER_BEARS - 1, 0), (PEER_BEARS, STALL_MEMORY + 1)]
)
def test_peer_that_timed_us_out_for_no_silence_of_ours(silence, later):
    """A shorter silence is no stall, and one of ours is no excuse for ever."""
    assert blamed_after(silence, later=later) == Fact(Cause.BFD_EXPIRED, WORDS)


@pytest.mark.parametrize(
    ("silence", "cause"),
    [(PEER_BEARS - 1, Cause.BFD_EXPIRED), (PEER_BEARS, Cause.OWN_STALL)],
)
def test_stall_that_is_not_over_yet_counts(silence, cause):
    """What came while we did not run is read before we send again."""
    session = session_in(UP)
    say(session, 0)
    assert hear(session, DOWN, diag=1, real=silence).fault.cause is cause


def test_stall_counts_by_what_the_peer_was_told():
    """After our own Detection Time is over too, the silence still counts as one of Up."""
    session = session_in(UP)
    say(session, 0)
    session.expire()
    say(session, SECOND)
    assert hear(session, DOWN, diag=1, real=SECOND).fault.cause is Cause.OWN_STALL


@pytest.mark.parametrize(
    ("silence", "cause"),
    [(FOUR_ASKED_FOR - 1, Cause.BFD_EXPIRED), (FOUR_ASKED_FOR, Cause.OWN_STALL)],
)
def test_stall_counts_by_what_the_peer_asked_for(silence, cause):
    """A peer that wants few packets bears a long silence: the longer interval, our multiplier."""
    session = session_in(UP, multiplier=5)
    hear(session, UP, required_min_rx_usec=400_000)
    say(session, 0)
    say(session, silence)
    assert hear(session, DOWN, diag=1, real=silence).fault.cause is cause


def test_only_expiry_is_blamed_on_a_stall():
    """What a peer says of its own is not excused by our silence."""
    session = session_in(UP)
    say(session, 0)
    assert hear(session, DOWN, diag=5, real=SECOND).fault.cause is Cause.BFD_PATH_DOWN


@pytest.mark.parametrize("reason", ["never sent", "paused", "asked for", "demand"])
def test_silence_that_is_no_stall(reason):
    """Where nothing had to be sent, nothing was missed."""
    session = session_in(UP) if reason != "never sent" else session_with()
    if reason == "paused":
        session.pause(on=True)
    if reason == "asked for":
        hear(session, UP, required_min_rx_usec=0)
    if reason == "demand":
        hear(session, UP, demand=True)
    if reason != "never sent":
        say(session, 0)
    if reason == "paused":
        session.pause(on=False)
    assert hear(session, DOWN, diag=1, real=60 * SECOND).fault.cause is Cause.BFD_EXPIRED


# -- when we send ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", [ADMIN_DOWN, DOWN, INIT])
@pytest.mark.parametrize(("interval", "slow"), [(INTERVAL, SECOND), (7 * SECOND, 7 * SECOND)])
def test_session_that_is_not_up_is_slow(state, interval, slow):
    """Not Up, we send every second at most, and say so (6.8.3); what we bear stays as it is."""
    session = session_in(state, interval=interval)
    assert session.spacing() == slow
    said = say(session)
    assert said.desired_min_tx_usec == slow // 1000
    assert said.required_min_rx_usec == interval // 1000


@pytest.mark.parametrize(
    ("multiplier", "dice", "share"),
    [(3, 0.0, 1.0), (3, 0.5, 0.9), (3, 0.9999, 0.8), (1, 0.0, 0.9), (1, 0.9999, 0.8)],
)
def test_spacing_is_jittered(multiplier, dice, share):
    """0-25 % less at random, at least 10 % with a multiplier of 1 (6.8.7); a part is left open."""
    session = session_in(UP, multiplier=multiplier, dice=Loaded(dice))
    assert session.spacing() == pytest.approx(share * INTERVAL, rel=1e-4)
    assert session.spacing() - session.grain >= 0.75 * INTERVAL
    assert session.spacing() <= INTERVAL * (0.9 if multiplier == 1 else 1)


@pytest.mark.parametrize(
    ("theirs", "pace"), [(1, 100), (100_000, 100), (250_000, 250), (bfd.MOST, bfd.MOST / 1000)]
)
def test_the_slower_of_two_sets_the_pace(theirs, pace):
    """We send as often as we want and the peer bears."""
    session = session_in(UP)
    hear(session, UP, required_min_rx_usec=theirs)
    assert session.spacing() == pace * MILLISECOND


@pytest.mark.parametrize("state", [DOWN, INIT, UP])
def test_peer_that_wants_nothing_is_sent_nothing(state):
    """Required Min RX 0 ends scheduled packets in any state; a Poll is answered all the same."""
    session = session_in(state)
    theirs = {DOWN: ADMIN_DOWN, INIT: DOWN, UP: UP}[state]
    for wanted in (0, 100_000, 0):
        heard = hear(session, theirs, required_min_rx_usec=wanted)
        assert heard.reply == (wanted > 0)
        assert (session.spacing() is None) == (wanted == 0)
    hear(session, theirs, required_min_rx_usec=0, poll=True)
    assert say(session).final


def test_peer_that_wants_more_is_sent_more_at_once():
    """A shorter interval of the peer's is honoured immediately, a longer one needs no packet."""
    session = session_in(UP)
    assert not hear(session, UP, required_min_rx_usec=500_000).reply
    assert not hear(session, UP, required_min_rx_usec=500_000).reply
    assert hear(session, UP, required_min_rx_usec=400_000).reply
    assert not hear(session, UP, required_min_rx_usec=400_000).reply


def test_peer_in_demand_mode_is_sent_nothing_scheduled():
    """Both Up and the peer in demand mode: no scheduled packets, but a Final to a Poll (6.6)."""
    session = session_in(UP)
    assert not hear(session, UP, demand=True).reply
    assert session.spacing() is None
    assert hear(session, UP, demand=True, poll=True).reply
    said = say(session)
    assert (said.final, said.demand) == (True, False)
    assert session.spacing() is None
    assert hear(session, UP).reply
    assert session.spacing() == INTERVAL


def test_demand_needs_both_up():
    """Demand is not active while one of both is not Up."""
    session = session_in(DOWN)
    hear(session, UP, demand=True)
    assert session.spacing() is not None
    session = session_in(UP)
    hear(session, INIT, demand=True)
    assert session.spacing() is not None


def test_poll_of_ours_is_sent_to_a_peer_in_demand_mode():
    """A Poll Sequence is scheduled even in demand mode, until its Final (6.5)."""
    session = session_in(UP)
    hear(session, UP, demand=True)
    session.adopt(settings(2 * INTERVAL))
    assert session.spacing() == INTERVAL
    assert say(session).poll
    hear(session, UP, demand=True, final=True)
    assert session.spacing() is None


# -- how long we wait ------------------------------------------------------------------------------


def test_detection_time_is_the_peers():
    """Its multiplier times the longer of what it wants to send and what we bear (6.8.4)."""
    session = session_in(UP)
    assert (session.expected, session.patience) == (INTERVAL, 3 * INTERVAL)
    hear(session, UP, multiplier=7, desired_min_tx_usec=50_000)
    assert (session.expected, session.patience) == (INTERVAL, 7 * INTERVAL)
    hear(session, UP, multiplier=7, desired_min_tx_usec=300_000)
    assert (session.expected, session.patience) == (3 * INTERVAL, 21 * INTERVAL)


def test_detection_time_of_one_that_was_never_heard():
    """Before the first packet: our multiplier, and a second at least."""
    assert session_with(multiplier=5).patience == 5 * SECOND
    assert session_with(interval=10 * SECOND).patience == 30 * SECOND


def test_timing_outlives_the_session():
    """What was agreed stays when a session fails (6.8.1)."""
    session = session_in(UP)
    hear(session, UP, required_min_rx_usec=2_000_000, multiplier=9)
    session.expire()
    assert session.spacing() == 2 * SECOND
    assert session.patience == 9 * INTERVAL


# -- Poll and Final --------------------------------------------------------------------------------


def test_reaching_up_is_polled():
    """The change from a second to the interval is told with Poll, until a Final."""
    session = session_in(INIT)
    assert hear(session, UP) == Heard(is_up=True, reply=True, fault=None)
    for _ in range(2):
        said = say(session)
        assert (said.state, said.poll, said.desired_min_tx_usec) == (UP, True, 100_000)
        assert session.spacing() == INTERVAL  # shorter: at once
        assert not hear(session, UP).reply
    hear(session, UP, final=True)
    assert not say(session).poll


def test_reaching_up_without_a_change_is_not_polled():
    """Where the interval is a second or more, being Up changes nothing."""
    session = session_in(INIT, interval=2 * SECOND)
    hear(session, UP)
    assert not say(session).poll


@pytest.mark.parametrize("state", [DOWN, INIT, UP])
def test_poll_is_answered(state):
    """In any state but AdminDown a Poll is answered once, with Final and without Poll."""
    session = session_in(state)
    theirs = {DOWN: UP, INIT: DOWN, UP: UP}[state]
    assert hear(session, theirs, poll=True).reply
    assert [(said.poll, said.final) for said in (say(session), say(session))] == [
        (False, True),
        (False, False),
    ]


def test_poll_is_answered_though_more_came():
    """A Final is owed until it is sent, whatever is heard in between."""
    session = session_in(UP)
    hear(session, UP, poll=True)
    assert not hear(session, UP).reply
    assert say(session).final


def test_final_goes_before_a_poll_of_ours():
    """Never Poll and Final in one packet: the Poll waits for the next scheduled one."""
    session = session_in(INIT)
    hear(session, UP, poll=True)
    first, second = say(session), say(session)
    assert (first.poll, first.final) == (False, True)
    assert (second.poll, second.final) == (True, False)


def test_final_to_no_poll_ends_nothing():
    """A Final that comes before our first Poll went out is not the answer to it."""
    session = session_in(UP)
    session.adopt(settings(2 * INTERVAL))
    hear(session, UP, final=True)
    assert session.spacing() == INTERVAL
    assert say(session).poll
    hear(session, UP, final=True)
    assert session.spacing() == 2 * INTERVAL


def test_longer_interval_waits_for_the_final():
    """We go on at the old pace until the peer knows of the new; what we bear is longer at once."""
    session = session_in(UP)
    session.adopt(settings(3 * INTERVAL))
    assert (session.spacing(), session.patience) == (INTERVAL, 9 * INTERVAL)
    said = say(session)
    assert (said.poll, said.desired_min_tx_usec, said.required_min_rx_usec) == (
        True,
        300_000,
        300_000,
    )
    hear(session, UP)
    assert session.spacing() == INTERVAL
    hear(session, UP, final=True)
    assert (session.spacing(), session.patience) == (3 * INTERVAL, 9 * INTERVAL)


def test_shorter_interval_lets_the_peer_time():
    """We send faster at once; the shorter Detection Time waits until the peer has agreed."""
    session = session_in(UP, interval=4 * INTERVAL)
    session.adopt(settings(INTERVAL))
    assert (session.spacing(), session.patience) == (INTERVAL, 12 * INTERVAL)
    assert say(session).poll
    hear(session, UP)
    assert session.patience == 12 * INTERVAL
    hear(session, UP, final=True)
    assert session.patience == 3 * INTERVAL


def test_second_change_waits_for_the_first():
    """A change within a Poll Sequence waits for its Final and one packet without (6.8.3)."""
    session = session_in(UP)
    session.adopt(settings(2 * INTERVAL))
    assert say(session).desired_min_tx_usec == 200_000
    session.adopt(settings(3 * INTERVAL))
    assert say(session).desired_min_tx_usec == 200_000
    hear(session, UP, final=True)
    said = say(session)
    assert (said.poll, said.desired_min_tx_usec) == (False, 200_000)
    hear(session, UP, final=True)  # to the second Poll
    assert not say(session).poll
    hear(session, UP)
    said = say(session)
    assert (said.poll, said.desired_min_tx_usec) == (True, 300_000)
    assert session.spacing() == 2 * INTERVAL


def test_change_right_after_a_poll_sequence_waits():
    """A late second Final is not taken for the answer to a new Poll."""
    session = session_in(UP)
    session.adopt(settings(2 * INTERVAL))
    say(session)
    hear(session, UP, final=True)
    session.adopt(settings(3 * INTERVAL))
    assert not say(session).poll
    hear(session, UP)
    assert say(session).poll


def test_change_back_and_forth_is_none():
    """What is wanted in the end is offered already."""
    session = session_in(UP)
    session.adopt(settings(2 * INTERVAL))
    say(session)
    session.adopt(settings(3 * INTERVAL))
    session.adopt(settings(2 * INTERVAL))
    hear(session, UP, final=True)
    hear(session, UP)
    assert not say(session).poll
    assert session.spacing() == 2 * INTERVAL


def test_change_of_a_session_that_is_not_up_is_told_without_poll():
    """Not Up, nothing waits for a Final: the next packet tells the change."""
    session = session_in(INIT)
    session.adopt(settings(5 * SECOND))
    said = say(session)
    assert (said.poll, said.desired_min_tx_usec, said.required_min_rx_usec) == (
        False,
        5_000_000,
        5_000_000,
    )
    assert session.spacing() == 5 * SECOND


def test_multiplier_needs_no_poll():
    """Another multiplier goes with the next packet (6.8.12)."""
    session = session_in(UP)
    session.adopt(settings(multiplier=9))
    said = say(session)
    assert (said.poll, said.multiplier) == (False, 9)


def test_poll_sequence_ends_with_the_session():
    """A session that goes down polls no more, is slow at once, and offers anew when it is Up."""
    session = session_in(UP)
    session.adopt(settings(3 * INTERVAL))
    say(session)
    hear(session, DOWN)
    said = say(session)
    assert (said.poll, said.desired_min_tx_usec) == (False, 1_000_000)
    assert session.spacing() == SECOND
    hear(session, INIT)
    said = say(session)
    assert (said.poll, said.desired_min_tx_usec) == (True, 300_000)
    assert session.spacing() == 3 * INTERVAL


# -- what is dropped -------------------------------------------------------------------------------

PLAIN = bfd.pack(packet(UP))


def read(session, datagram, *, ttl=255, silent_for=0):
    """Read what must be dropped, and see that nothing came of it."""
    before = everything(session)
    heard = session.read(datagram, 0, ttl, silent_for)
    assert isinstance(heard, Fact)
    assert everything(session) == before
    return heard


@pytest.mark.parametrize(
    ("datagram", "words"),
    [
        (b"", "packets shorter than 24 octets, which is no BFD"),
        (b"\x40" + PLAIN[1:], "packets of another version than 1"),
        (PLAIN[:3] + b"\x17" + PLAIN[4:], "packets whose Length is less than their header"),
        (PLAIN[:3] + b"\x19" + PLAIN[4:], "packets cut off: less came than their Length says"),
        (PLAIN[:2] + b"\x00" + PLAIN[3:], "packets with a Detect Mult of 0"),
        (PLAIN[:1] + b"\xc1" + PLAIN[2:], "packets with the Multipoint bit"),
        (PLAIN[:4] + bytes(4) + PLAIN[8:], "packets whose own discriminator is 0"),
        (
            PLAIN[:8] + bytes(4) + PLAIN[12:],
            "packets without our discriminator in a state that takes it",
        ),
        (
            bfd.pack(packet(DOWN, your_discriminator=5)),
            "packets for another session (your discriminator 0x00000005)",
        ),
        (
            PLAIN[:1] + b"\xc4\x03\x1a" + PLAIN[4:] + b"\x04\x02",
            "packets whose authentication section has the wrong length",
        ),
    ],
)
@pytest.mark.parametrize("state", State)
def test_packet_that_breaks_a_rule_is_dropped(datagram, words, state):
    """Each rule of 6.8.6 has its words, and what breaks it changes nothing."""
    assert read(session_in(state), datagram) == Fact(Cause.BAD_REPLY, words)


@pytest.mark.parametrize(
    ("least", "ttl", "words"),
    [
        (255, 254, "packets with TTL 254, less than 255: from too far away"),
        (255, 0, "packets with TTL 0, less than 255: from too far away"),
        (255, None, "packets with an unknown TTL, less than 255: from too far away"),
        (60, 59, "packets with TTL 59, less than 60: from too far away"),
    ],
)
def test_packet_from_afar_is_dropped(least, ttl, words):
    """A neighbour's packets have TTL 255 (5881 5), a router's some hops away what was set."""
    session = session_in(UP, multihop=least < 255, min_ttl=least)
    assert read(session, PLAIN, ttl=ttl) == Fact(Cause.BAD_REPLY, words)


@pytest.mark.parametrize(("least", "ttl"), [(255, 255), (60, 60), (1, 1), (1, None)])
def test_packet_from_near_enough_is_taken(least, ttl):
    """What has as much TTL as is asked for, is taken; and any, where any will do."""
    session = session_with(multihop=least < 255, min_ttl=least)
    assert isinstance(session.read(PLAIN, 0, ttl, 0), Heard)


def test_least_ttl_can_be_changed():
    """Another least TTL applies at once."""
    session = session_with(multihop=True, min_ttl=1)
    session.adopt(settings(multihop=True, min_ttl=64))
    read(session, PLAIN, ttl=63)


def test_session_is_known_by_its_discriminator_or_the_peers_address():
    """Until the peer knows our discriminator its address must do, for each kind of hop apart."""
    session = session_with(multihop=True, min_ttl=1)
    assert session.keys(["192.0.2.1", "192.0.2.2"]) == (
        ("bfd", MINE),
        ("bfd", True, "192.0.2.1"),
        ("bfd", True, "192.0.2.2"),
    )


def test_octets_of_an_icmp_error_are_recognised():
    """Returned octets are ours if they begin like BFD with our discriminator."""
    session = session_in(UP)
    ours = session.compose(0)
    assert session.recognises(ours, 0, 0)
    assert session.recognises(ours[:8], 0, 0)
    for not_ours in (b"", ours[:7], b"\x40" + ours[1:], ours[:4] + b"\xff" * 4, PLAIN):
        assert not session.recognises(not_ours, 0, 0)


# -- authentication --------------------------------------------------------------------------------

KEYED, METICULOUS = BfdAuth.KEYED_SHA1, BfdAuth.METICULOUS_SHA1
KINDS = {KEYED: AuthKind.KEYED_SHA1, METICULOUS: AuthKind.METICULOUS_SHA1}


def signed(kind, sequence, *, secret=SECRET, key_id=7, state=DOWN, **changes):
    auth = Auth(KINDS[kind], key_id, sequence)
    return bfd.pack(packet(state, auth=auth, **changes), secret)


def authenticated(kind, first=100, **options):
    """A session that has accepted a packet with this number."""
    session = session_with(auth=kind, key_id=7, **options)
    assert isinstance(session.read(signed(kind, first), 0, 255, LONG_AGO), Heard)
    return session


@pytest.mark.parametrize("kind", KINDS)
def test_wrong_authentication_is_dropped(kind):
    """What is not authentic is dropped with words that say what is wrong, and changes nothing."""
    session = authenticated(kind)
    ours = {KEYED: "keyed SHA1", METICULOUS: "meticulous keyed SHA1"}[kind]
    other = METICULOUS if kind is KEYED else KEYED
    theirs = {KEYED: "keyed SHA1", METICULOUS: "meticulous keyed SHA1"}[other]
    sha1 = signed(kind, 101)
    md5 = sha1[:24] + bytes([2]) + sha1[25:]
    unknown = sha1[:24] + bytes([99]) + sha1[25:]
    for datagram, words in [
        (PLAIN, f"packets with no authentication, where we have {ours}"),
        (md5, f"packets with keyed MD5, where we have {ours}"),
        (unknown, f"packets with authentication of type 99, where we have {ours}"),
        (signed(other, 101), f"packets with {theirs}, where we have {ours}"),
        (signed(kind, 101, key_id=8), "packets with key id 8, ours is 7"),
        (
            signed(kind, 101, secret=b"other"),
            "packets that fail the SHA1 hash: it does not have our secret",
        ),
    ]:
        assert read(session, datagram) == Fact(Cause.AUTH, words)


@pytest.mark.parametrize("kind", KINDS)
def test_authentication_that_was_not_agreed_is_dropped(kind):
    """Without a secret of ours, packets with authentication are dropped (6.8.6)."""
    words = {KEYED: "keyed SHA1", METICULOUS: "meticulous keyed SHA1"}[kind]
    assert read(session_in(UP), signed(kind, 1)) == Fact(
        Cause.AUTH, f"packets with {words}, where we have no authentication"
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("last", [100, 0xFFFFFFFC])
def test_sequence_numbers_go_forward(kind, last):
    """Next comes the last number (not if meticulous) to the last + 3 x multiplier, modulo 2^32."""
    for ahead in (-(2**31), -1, 0, 1, 15, 16, 2**31 - 1):
        session = authenticated(kind, last, multiplier=1)
        number = (last + ahead) & 0xFFFFFFFF
        datagram = signed(kind, number, multiplier=5)
        if (1 if kind is METICULOUS else 0) <= ahead <= 15:
            assert isinstance(session.read(datagram, 0, 255, 0), Heard)
        else:
            words = f"packets out of turn: sequence number {number}"
            assert read(session, datagram) == Fact(Cause.AUTH, words)


@pytest.mark.parametrize("kind", KINDS)
def test_sequence_number_is_forgotten_after_a_silence(kind):
    """After twice the Detection Time any number will do, as the peer may have restarted (6.8.1)."""
    session = authenticated(kind)
    read(session, signed(kind, 5), silent_for=2 * session.patience - 1)
    heard = session.read(signed(kind, 5), 0, 255, 2 * session.patience)
    assert isinstance(heard, Heard)
    read(session, signed(kind, 100))  # and goes on from there
    assert isinstance(session.read(signed(kind, 6), 0, 255, 0), Heard)


@pytest.mark.parametrize("kind", KINDS)
def test_sequence_number_of_another_machine_is_forgotten(kind):
    """Whoever is there instead begins with any number, and nothing is known of it."""
    session = authenticated(kind)
    assert session.restart() is True
    assert say(session).your_discriminator == 0
    assert isinstance(session.read(signed(kind, 5), 0, 255, 0), Heard)


@pytest.mark.parametrize("kind", KINDS)
def test_forged_packet_moves_no_sequence_number(kind):
    """What fails the hash does not shift what is expected next, not even after a silence."""
    session = authenticated(kind)
    read(session, signed(kind, 109, secret=b"other"), silent_for=LONG_AGO)
    assert isinstance(session.read(signed(kind, 101), 0, 255, 0), Heard)


def test_meticulous_packets_are_numbered_each():
    """Every packet has the next number, from a random one on, modulo 2^32."""
    session = session_with(auth=METICULOUS, key_id=9, dice=Loaded(bits=0xFFFFFFFD))
    datagrams = [session.compose(0) for _ in range(4)]
    assert [bfd.parse(datagram).auth for datagram in datagrams] == [
        Auth(AuthKind.METICULOUS_SHA1, 9, number) for number in (0xFFFFFFFE, 0xFFFFFFFF, 0, 1)
    ]
    assert all(bfd.verifies(datagram, SECRET) for datagram in datagrams)


def test_keyed_packets_are_numbered_when_they_say_something_new():
    """A packet that says the same has the same number."""
    session = session_with(auth=KEYED, dice=Loaded(bits=41))
    numbers = [say(session).auth.sequence for _ in range(2)]
    session.read(signed(KEYED, 1, key_id=1), 0, 255, 0)
    numbers += [say(session).auth.sequence for _ in range(2)]
    assert numbers == [42, 42, 43, 43]


@pytest.mark.parametrize(("auth", "secret"), [(BfdAuth.NONE, SECRET), (KEYED, None)])
def test_secret_goes_with_authentication(auth, secret):
    """A session is not made with a secret that nothing needs, or without one that is needed."""
    with pytest.raises(ValueError, match="secret"):
        BfdSession(BfdOptions(auth=auth), INTERVAL, Loaded(), MINE, secret)


def test_first_sequence_number_is_random():
    """Numbers begin anywhere, so that a restart does not repeat them."""
    first = {
        say(session_with(auth=METICULOUS, dice=Random(seed))).auth.sequence  # noqa: S311 - replayed
        for seed in range(20)
    }
    assert len(first) == 20
