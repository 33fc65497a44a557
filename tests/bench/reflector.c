/* A STAMP reflector for any number of loopback addresses: one socket, replies from the address
   that was asked. What it answers is what hbd/core/reflector.py does, octet for octet.

       reflector PAGE POLL_USEC [KEY_FILE]

   It looks every POLL_USEC for what has come, so that a monitor beside it is not billed for waking
   it; with 0 it waits in the kernel. On PAUSE it answers nobody. Build with -DKEYED for
   authenticated mode. */

#define _GNU_SOURCE
#include "page.h"
#include "stamp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

enum { BATCH = 32, SESSIONS = 1 << 20, RECEIVE_BUFFER = 64 << 20 };

/* Who asks one of our addresses: another session begins to count anew. */
static struct session { uint32_t source; uint16_t port, ssid; uint32_t accepted; } sessions[SESSIONS];

static struct mmsghdr messages[BATCH];
static struct iovec vectors[BATCH];
static struct sockaddr_in sources[BATCH];
static uint8_t packets[BATCH][SIZE];
static union { char room[128]; struct cmsghdr align; } came[BATCH];
static union { char room[CMSG_SPACE(sizeof(struct in_pktinfo))]; struct cmsghdr align; } from[BATCH];

static uint64_t incarnation;
static volatile struct page *page;

static int open_socket(uint16_t port)
{
    int on = 1, ttl = 255, octets = RECEIVE_BUFFER;
    struct sockaddr_in any = { .sin_family = AF_INET, .sin_port = htons(port) };
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
        err(1, "port %u", port);
    setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_RECVTTL, &on, sizeof on);
    setsockopt(fd, IPPROTO_IP, IP_TTL, &ttl, sizeof ttl);
    setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &octets, sizeof octets);
    struct timeval patience = { .tv_usec = 100000 };  /* then it looks for orders */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return fd;
}

static uint32_t count(const struct sockaddr_in *source, uint16_t ssid, uint32_t asked)
{
    struct session *session = &sessions[ntohl(asked) % SESSIONS];
    if (session->source != source->sin_addr.s_addr || session->port != source->sin_port
        || session->ssid != ssid)
        *session = (struct session){ source->sin_addr.s_addr, source->sin_port, ssid, 0 };
    return ++session->accepted;
}

/* Our words for an hbd's; what others put into such a TLV goes back as it is. */
static void announce(uint8_t *tlv, uint32_t accepted)
{
    if (tlv[TLV_TYPE] != HBD_TYPE || get16(tlv + TLV_LENGTH) != HBD_LENGTH
        || memcmp(tlv + MAGIC_AT, "hbd1", 4) != 0 || tlv[VERSION_AT] != HBD_VERSION) {
        tlv[TLV_FLAGS] = UNRECOGNISED;
        return;
    }
    tlv[TLV_FLAGS] = 0;
    memset(tlv + FLAGS_AT, 0, TLV_SIZE - FLAGS_AT);
    tlv[FLAGS_AT] = REFLECTOR | STATEFUL;
    put64(tlv + INCARNATION_AT, incarnation);
    put64(tlv + NODE_AT, incarnation ^ UINT64_MAX);
    put32(tlv + ACCEPTED_AT, accepted);
}

/* Turn request number i into its reply; false where it is none. */
static bool answer(int i, int64_t now)
{
    struct msghdr *message = &messages[i].msg_hdr;
    int64_t received = arrived(message);
    uint8_t *packet = packets[i];
    size_t size = messages[i].msg_len;
    const struct in_pktinfo *to = ancillary(message, IPPROTO_IP, IP_PKTINFO);
    const void *ttl = ancillary(message, IPPROTO_IP, IP_TTL);
    if (page->order != GO || size < BASE || message->msg_flags & MSG_TRUNC || !to || !sources[i].sin_port
        || ntohs(sources[i].sin_port) == page->port || packet[ERROR_AT + 1] == 0)
        return false;
#ifdef KEYED
    if (!is_base_signed(packet) || (size == SIZE && !is_tlv_signed(packet)))
        return false;
#endif
    uint32_t asked = to->ipi_addr.s_addr;
    uint32_t accepted = count(&sources[i], get16(packet + SSID_AT), asked);
    memcpy(packet + ASKED_AT, packet, 4);
    memcpy(packet + ECHO_AT, packet + STAMP_AT, 8);
    memcpy(packet + ECHO_ERROR_AT, packet + ERROR_AT, 2);
    put32(packet, accepted - 1);
    put64(packet + STAMP_AT, ntp_from_unix(now));
    put16(packet + ERROR_AT, UNKNOWN_ERROR);
    put64(packet + RECEIVED_AT, ntp_from_unix(received));
    packet[TTL_AT] = ttl ? *(const int *)ttl : 255;
    if (size >= BASE + TLV_SIZE)
        announce(packet + BASE, accepted);
#ifdef KEYED
    if (size == SIZE)
        sign_all(packet, 0);
    else
        sign(packet, MAC_AT, NULL, 0, packet + MAC_AT);
#endif
    struct cmsghdr *source = &from[i].align;
    source->cmsg_level = IPPROTO_IP;
    source->cmsg_type = IP_PKTINFO;
    source->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    *(struct in_pktinfo *)CMSG_DATA(source) = (struct in_pktinfo){ .ipi_spec_dst.s_addr = asked };
    return true;
}

static int receive(int fd, int flags)
{
    for (int i = 0; i < BATCH; i++) {
        vectors[i] = (struct iovec){ packets[i], SIZE };
        messages[i].msg_hdr = (struct msghdr){
            .msg_name = &sources[i], .msg_namelen = sizeof sources[i],
            .msg_iov = &vectors[i], .msg_iovlen = 1,
            .msg_control = &came[i], .msg_controllen = sizeof came[i],
        };
    }
    return recvmmsg(fd, messages, BATCH, flags, NULL);
}

static void answer_all(int fd, int count)
{
    int replies = 0;
    /* One T3 for the batch: what the last waits for the others is below 0.1 ms. */
    int64_t now = read_clock(CLOCK_REALTIME);
    for (int i = 0; i < count; i++) {
        if (!answer(i, now)) {
            page->refused++;
            continue;
        }
        vectors[i].iov_len = messages[i].msg_len;
        messages[replies].msg_hdr = (struct msghdr){
            .msg_name = &sources[i], .msg_namelen = sizeof sources[i],
            .msg_iov = &vectors[i], .msg_iovlen = 1,
            .msg_control = &from[i], .msg_controllen = sizeof from[i],
        };
        replies++;
    }
    page->received += count;
    for (int done = 0, went; done < replies; done += went) {
        went = sendmmsg(fd, messages + done, replies - done, 0);
        if (went < 0)
            went = 1;  /* what cannot be sent is lost, as on any network */
        else
            page->sent += went;
    }
}

int main(int argc, char **argv)
{
    if (argc < 3)
        errx(1, "usage: reflector PAGE POLL_USEC [KEY_FILE]");
    page = share_page(argv[1]);
#ifdef KEYED
    take_key(argv[3]);
#endif
    long poll_usec = atol(argv[2]);
    struct timespec pause = { .tv_nsec = poll_usec * 1000 };
    incarnation = read_clock(CLOCK_REALTIME) | 1;
    int fd = open_socket(page->port);
    page->is_ready = 1;
    while (page->order != END) {
        int count = receive(fd, poll_usec ? MSG_DONTWAIT : MSG_WAITFORONE);
        if (count > 0)
            answer_all(fd, count);
        if (count < BATCH && poll_usec)
            clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
    }
    return 0;
}
