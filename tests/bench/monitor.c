/* A STAMP monitor in C that does hbd's job with sendmmsg and recvmmsg: the floor under hbd's cost.
   It sends the octets that hbd sends and believes no more of a reply than hbd does.

       monitor PAGE PEERS INTERVAL_USEC TICK_USEC [KEY_FILE]

   Peer number i is 127.1.0.0 + i. On PAUSE it only waits for GO. Build with -DKEYED for
   authenticated mode. */

#define _GNU_SOURCE
#include "page.h"
#include "stamp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

enum {
    BATCH = 64,
    WINDOW = 100,     /* RTTs are kept of the last so many heartbeats */
    OUTSTANDING = 4,  /* so many of the last heartbeats may still be answered */
    RETRIES = 3,
    RISE = 2,
    SLOTS = 4096,     /* of the wheel: ticks until the farthest deadline */
    RECEIVE_BUFFER = 8 << 20,
    FIRST_ADDRESS = 0x7f010000,
};
#define PROBE (3 * NANOSECONDS)  /* the spacing while a peer is down (RFC 8085 3.1.3) */
#define JITTER 10                /* an interval is shortened at random by up to a tenth */

enum state { UNKNOWN, UP, DOWN };
static const uint8_t SEEN[] = { [UNKNOWN] = 0, [UP] = 3, [DOWN] = 1 };  /* hbd_tlv.Seen */

struct peer {
    struct peer *next;  /* in its slot of the wheel */
    int64_t ask_at;     /* monotonic */
    uint32_t sequence;  /* of the next heartbeat */
    uint8_t state, missed, rising, ttl;
    bool is_awaited;    /* no reply to the last heartbeat yet */
    uint64_t incarnation;
    uint32_t uncounted; /* heartbeats that the reflector has not counted */
    uint64_t t1[OUTSTANDING];
    int64_t sent_at[OUTSTANDING];  /* wall clock, as the kernel stamps what comes */
    uint32_t rtts[WINDOW];         /* microseconds; 0: unanswered */
};

static volatile struct page *page;
static struct peer *peers;
static uint32_t peer_count;
static int64_t interval, timeout, tick;
static uint64_t incarnation;
static int fd;

/* -- the wheel: a peer stands in the slot of the tick in which something is due --------------- */

static struct peer *wheel[SLOTS];
static int64_t turned;  /* the last tick that was worked off */

static void schedule(struct peer *peer, int64_t at)
{
    int64_t slot = at / tick;
    slot = slot <= turned ? turned + 1 : slot;
    peer->next = wheel[slot % SLOTS];
    wheel[slot % SLOTS] = peer;
}

/* -- sending ---------------------------------------------------------------------------------- */

static struct mmsghdr outgoing[BATCH];
static struct iovec out_vectors[BATCH];
static struct sockaddr_in destinations[BATCH];
static uint8_t heartbeats[BATCH][SIZE];
static int composed;

static void prepare_sending(void)
{
    for (int i = 0; i < BATCH; i++) {
        uint8_t *packet = heartbeats[i], *tlv = packet + BASE;
        destinations[i] = (struct sockaddr_in){ .sin_family = AF_INET };
        out_vectors[i] = (struct iovec){ packet, SIZE };
        outgoing[i].msg_hdr = (struct msghdr){
            .msg_name = &destinations[i], .msg_namelen = sizeof destinations[i],
            .msg_iov = &out_vectors[i], .msg_iovlen = 1,
        };
        put16(packet + ERROR_AT, UNKNOWN_ERROR);
        tlv[TLV_FLAGS] = UNRECOGNISED;
        tlv[TLV_TYPE] = HBD_TYPE;
        put16(tlv + TLV_LENGTH, HBD_LENGTH);
        memcpy(tlv + MAGIC_AT, "hbd1", 4);
        tlv[VERSION_AT] = HBD_VERSION;
        put64(tlv + INCARNATION_AT, incarnation);
        put64(tlv + NODE_AT, ~incarnation);
        put32(tlv + INTERVAL_AT, interval / 1000);
    }
}

static void flush(void)
{
    for (int done = 0, went; done < composed; done += went) {
        went = sendmmsg(fd, outgoing + done, composed - done, 0);
        if (went > 0)
            page->sent += went;
        else
            went = 1;
    }
    composed = 0;
}

static void ask(struct peer *peer, int64_t now)
{
    uint32_t sequence = peer->sequence++;
    int64_t wall = read_clock(CLOCK_REALTIME);
    /* The lowest bit says that our TLV is in it. */
    uint64_t t1 = (ntp_from_unix(wall) & ~(uint64_t)NOISE) | (dice() & NOISE) | 1;
    uint8_t *packet = heartbeats[composed];
    put32(packet, sequence);
    put64(packet + STAMP_AT, t1);
    put16(packet + SSID_AT, peer - peers + 1);
    packet[BASE + STATE_AT] = SEEN[peer->state];
#ifdef KEYED
    sign_all(packet, UNRECOGNISED);
#endif
    destinations[composed].sin_addr.s_addr = htonl(FIRST_ADDRESS + (peer - peers));
    destinations[composed].sin_port = htons(page->port);
    peer->t1[sequence % OUTSTANDING] = t1;
    peer->sent_at[sequence % OUTSTANDING] = wall;
    peer->rtts[sequence % WINDOW] = 0;
    peer->is_awaited = true;
    peer->ask_at = now + interval - interval / JITTER * (dice() & 0xffff) / 0x10000;
    schedule(peer, now + timeout);
    if (++composed == BATCH)
        flush();
}

/* Something is due with a peer: its deadline, or its next heartbeat. */
static void look_at(struct peer *peer, int64_t now)
{
    if (peer->is_awaited) {
        peer->is_awaited = false;
        peer->rising = 0;
        page->lost++;
        if (peer->missed < RETRIES) {
            peer->missed++;
        } else {
            page->up -= peer->state == UP;
            page->down += peer->state != DOWN;
            peer->state = DOWN;
            peer->ask_at = now + PROBE - timeout;
        }
        if (peer->state != DOWN)
            peer->ask_at = now;  /* a retransmission */
    }
    if (peer->ask_at / tick <= now / tick)
        ask(peer, now);
    else
        schedule(peer, peer->ask_at);
}

static void advance(int64_t now)
{
    for (int64_t last = now / tick; turned < last;) {
        struct peer *due = wheel[++turned % SLOTS];
        wheel[turned % SLOTS] = NULL;
        while (due) {
            struct peer *peer = due;
            due = peer->next;
            look_at(peer, now);
        }
    }
    flush();
}

/* -- receiving -------------------------------------------------------------------------------- */

static struct mmsghdr incoming[BATCH];
static struct iovec in_vectors[BATCH];
static struct sockaddr_in sources[BATCH];
static uint8_t replies[BATCH][SIZE + 1];
static union { char room[128]; struct cmsghdr align; } came[BATCH];

/* What an hbd at the other end says in its TLV; none is no fault. */
static void hear(struct peer *peer, const uint8_t *packet)
{
    const uint8_t *tlv = packet + BASE;
    if (tlv[TLV_FLAGS] & (UNRECOGNISED | MALFORMED | INTEGRITY) || tlv[TLV_TYPE] != HBD_TYPE
        || get16(tlv + TLV_LENGTH) != HBD_LENGTH || memcmp(tlv + MAGIC_AT, "hbd1", 4) != 0
        || tlv[VERSION_AT] != HBD_VERSION || !(tlv[FLAGS_AT] & REFLECTOR))
        return;
#ifdef KEYED
    if (!is_tlv_signed(packet))
        return;
#endif
    peer->incarnation = get64(tlv + INCARNATION_AT);
    if (tlv[FLAGS_AT] & STATEFUL)
        peer->uncounted = get32(packet + ASKED_AT) - get32(packet);
}

static void live(struct peer *peer)
{
    peer->missed = 0;
    if (peer->state == UP || (peer->state == DOWN && ++peer->rising < RISE))
        return;
    peer->state = UP;
    page->up++;
}

/* Take reply number i; false where it is none of ours. */
static bool take(int i)
{
    struct msghdr *message = &incoming[i].msg_hdr;
    const uint8_t *packet = replies[i];
    if (incoming[i].msg_len != SIZE || sources[i].sin_port != htons(page->port))
        return false;
    uint32_t index = get16(packet + SSID_AT) - 1;
    if (index >= peer_count || ntohl(sources[i].sin_addr.s_addr) != FIRST_ADDRESS + index)
        return false;
#ifdef KEYED
    if (!is_base_signed(packet))
        return false;
#endif
    struct peer *peer = &peers[index];
    uint32_t sequence = get32(packet + ASKED_AT);
    if (peer->sequence - 1 - sequence >= OUTSTANDING
        || get64(packet + ECHO_AT) != peer->t1[sequence % OUTSTANDING])
        return false;
    int64_t dwell = ntp_elapsed(get64(packet + RECEIVED_AT), get64(packet + STAMP_AT));
    int64_t rtt = arrived(message) - peer->sent_at[sequence % OUTSTANDING];
    rtt -= dwell > 0 ? dwell : 0;
    rtt = rtt < 1000 ? 1 : rtt / 1000;
    peer->rtts[sequence % WINDOW] = rtt;
    const void *ttl = ancillary(message, IPPROTO_IP, IP_TTL);
    peer->ttl = ttl ? *(const int *)ttl : 0;
    hear(peer, packet);
    if (sequence != peer->sequence - 1 || !peer->is_awaited) {
        page->late++;
    } else {
        peer->is_awaited = false;
        if (peer->state == DOWN)
            peer->ask_at = 0;  /* it rises: ask at its next turn */
    }
    live(peer);
    return true;
}

static void drain(void)
{
    int count;
    do {
        for (int i = 0; i < BATCH; i++) {
            in_vectors[i] = (struct iovec){ replies[i], sizeof replies[i] };
            incoming[i].msg_hdr = (struct msghdr){
                .msg_name = &sources[i], .msg_namelen = sizeof sources[i],
                .msg_iov = &in_vectors[i], .msg_iovlen = 1,
                .msg_control = &came[i], .msg_controllen = sizeof came[i],
            };
        }
        count = recvmmsg(fd, incoming, BATCH, MSG_DONTWAIT, NULL);
        for (int i = 0; i < count; i++)
            if (take(i))
                page->received++;
            else
                page->refused++;
    } while (count == BATCH);
}

/* -- the loop --------------------------------------------------------------------------------- */

static void open_socket(void)
{
    int on = 1, ttl = 255, octets = RECEIVE_BUFFER, discover = IP_PMTUDISC_DO;
    fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        err(1, "socket");
    setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
    setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &discover, sizeof discover);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
}

/* Begin anew: heartbeats are spread over an interval, and what was sent before is forgotten. */
static void begin(void)
{
    int64_t now = read_clock(CLOCK_MONOTONIC);
    turned = now / tick;
    memset(wheel, 0, sizeof wheel);
    for (uint32_t i = 0; i < peer_count; i++) {
        peers[i].is_awaited = false;
        peers[i].missed = peers[i].rising = 0;
        peers[i].state = UNKNOWN;
        peers[i].ask_at = now + interval * i / peer_count;
        schedule(&peers[i], peers[i].ask_at);
    }
    page->up = 0;
}

static void wait_until(int64_t at)
{
    struct timespec until = { .tv_sec = at / NANOSECONDS, .tv_nsec = at % NANOSECONDS };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
        continue;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        errx(1, "usage: monitor PAGE PEERS INTERVAL_USEC TICK_USEC [KEY_FILE]");
    page = share_page(argv[1]);
    peer_count = atoi(argv[2]);
    interval = atoll(argv[3]) * 1000;
    timeout = interval / 2;
    tick = atoll(argv[4]) * 1000;
    if (tick * (SLOTS - 1) < PROBE || interval > PROBE || peer_count > UINT16_MAX)
        errx(1, "too many peers, a tick too short or an interval too long");
#ifdef KEYED
    take_key(argv[5]);
#endif
    incarnation = read_clock(CLOCK_REALTIME) | 1;
    peers = calloc(peer_count, sizeof *peers);
    open_socket();
    prepare_sending();
    page->is_ready = 1;
    for (bool goes = false; page->order != END;) {
        int64_t now = read_clock(CLOCK_MONOTONIC);
        if (page->order == GO && !goes)
            begin();
        goes = page->order == GO;
        drain();
        if (goes)
            advance(now);
        wait_until(goes ? (now / tick + 1) * tick : now + NANOSECONDS / 20);
    }
    return 0;
}
