/* STAMP with hbd's TLV as hbd sends and answers it (RFC 8762, RFC 8972; hbd/wire): open mode, or
   with -DKEYED the authenticated one. Offsets are in the UDP payload. */

#ifndef STAMP_H
#define STAMP_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define NANOSECONDS 1000000000LL

/* Request and reply have the first three at the same places. */
enum {
#ifdef KEYED
    STAMP_AT = 16, ERROR_AT = 24, SSID_AT = 26,
    RECEIVED_AT = 32, ASKED_AT = 48, ECHO_AT = 64, ECHO_ERROR_AT = 72, TTL_AT = 80,
    MAC_AT = 96, MAC = 16, BASE = 112,
#else
    STAMP_AT = 4, ERROR_AT = 12, SSID_AT = 14,
    RECEIVED_AT = 16, ASKED_AT = 24, ECHO_AT = 28, ECHO_ERROR_AT = 36, TTL_AT = 40,
    BASE = 44,
#endif
};

/* hbd's TLV, from BASE on: a header of four octets and these. */
enum {
    TLV_FLAGS = 0, TLV_TYPE = 1, TLV_LENGTH = 2,
    MAGIC_AT = 4, VERSION_AT = 8, FLAGS_AT = 9, STATE_AT = 10,
    INCARNATION_AT = 12, NODE_AT = 20, INTERVAL_AT = 28, ACCEPTED_AT = 36,
    TLV_SIZE = 44,
    HBD_TYPE = 250, HBD_LENGTH = 40, HBD_VERSION = 1,
    REFLECTOR = 0x01, STATEFUL = 0x02,  /* its flags */
    UNRECOGNISED = 0x80, MALFORMED = 0x40, INTEGRITY = 0x20,  /* flags of any TLV */
#ifdef KEYED
    HMAC_TLV_AT = BASE + TLV_SIZE, HMAC_TYPE = 8, HMAC_TLV_SIZE = 4 + MAC,
    SIZE = HMAC_TLV_AT + HMAC_TLV_SIZE,
#else
    SIZE = BASE + TLV_SIZE,
#endif
};

#define UNKNOWN_ERROR 0x3fff
#define NOISE 0xfff  /* of T1: below a microsecond, so that it cannot be guessed */

static inline uint16_t get16(const uint8_t *at) { uint16_t v; memcpy(&v, at, 2); return be16toh(v); }
static inline uint32_t get32(const uint8_t *at) { uint32_t v; memcpy(&v, at, 4); return be32toh(v); }
static inline uint64_t get64(const uint8_t *at) { uint64_t v; memcpy(&v, at, 8); return be64toh(v); }
static inline void put16(uint8_t *at, uint16_t v) { v = htobe16(v); memcpy(at, &v, 2); }
static inline void put32(uint8_t *at, uint32_t v) { v = htobe32(v); memcpy(at, &v, 4); }
static inline void put64(uint8_t *at, uint64_t v) { v = htobe64(v); memcpy(at, &v, 8); }

static inline int64_t nanoseconds(struct timespec at)
{
    return at.tv_sec * NANOSECONDS + at.tv_nsec;
}

static inline int64_t read_clock(clockid_t id)
{
    struct timespec now;
    clock_gettime(id, &now);
    return nanoseconds(now);
}

static inline uint64_t ntp_from_unix(int64_t unix_ns)
{
    uint64_t seconds = unix_ns / NANOSECONDS, rest = unix_ns % NANOSECONDS;
    return (seconds + 2208988800u) << 32 | (rest << 32) / NANOSECONDS;
}

/* From one NTP stamp to another, which lie close together. */
static inline int64_t ntp_elapsed(uint64_t earlier, uint64_t later)
{
    return (int64_t)((__int128)(int64_t)(later - earlier) * NANOSECONDS >> 32);
}

/* Small random numbers (xorshift): jitter and noise. */
static inline uint32_t dice(void)
{
    static uint32_t state = 0x9e3779b9;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state;
}

#ifdef KEYED
#define OPENSSL_SUPPRESS_DEPRECATED
#include <err.h>
#include <openssl/hmac.h>
#include <stdio.h>

static HMAC_CTX *keyed;

/* The file has 64 hexadecimal digits, as `hbd keygen` makes them. */
static inline void take_key(const char *file)
{
    uint8_t key[32];
    FILE *opened = fopen(file, "r");
    for (size_t i = 0; opened && i < sizeof key; i++)
        if (fscanf(opened, "%2hhx", &key[i]) != 1)
            errx(1, "no key in %s", file);
    if (!opened)
        err(1, "%s", file);
    fclose(opened);
    keyed = HMAC_CTX_new();
    HMAC_Init_ex(keyed, key, sizeof key, EVP_sha256(), NULL);
}

/* The first 16 octets of the HMAC-SHA-256 of one piece after the other; the context is reused. */
static inline void sign(const uint8_t *one, size_t size, const uint8_t *other, size_t rest, uint8_t *mac)
{
    uint8_t whole[32];
    HMAC_Init_ex(keyed, NULL, 0, NULL, NULL);
    HMAC_Update(keyed, one, size);
    if (rest)
        HMAC_Update(keyed, other, rest);
    HMAC_Final(keyed, whole, NULL);
    memcpy(mac, whole, MAC);
}

static inline bool is_signed(
    const uint8_t *one, size_t size, const uint8_t *other, size_t rest, const uint8_t *mac)
{
    uint8_t due[MAC];
    sign(one, size, other, rest, due);
    return memcmp(due, mac, MAC) == 0;
}

/* The base packet (RFC 8762 4.4), and the HMAC TLV over sequence number and hbd's (RFC 8972 4.8). */
static inline void sign_all(uint8_t *packet, uint8_t tlv_flags)
{
    sign(packet, MAC_AT, NULL, 0, packet + MAC_AT);
    uint8_t *tlv = packet + HMAC_TLV_AT;
    tlv[TLV_FLAGS] = tlv_flags;
    tlv[TLV_TYPE] = HMAC_TYPE;
    put16(tlv + TLV_LENGTH, MAC);
    sign(packet, 4, packet + BASE, TLV_SIZE, tlv + 4);
}

static inline bool is_base_signed(const uint8_t *packet)
{
    return is_signed(packet, MAC_AT, NULL, 0, packet + MAC_AT);
}

static inline bool is_tlv_signed(const uint8_t *packet)
{
    const uint8_t *tlv = packet + HMAC_TLV_AT;
    return tlv[TLV_TYPE] == HMAC_TYPE && get16(tlv + TLV_LENGTH) == MAC
        && is_signed(packet, 4, packet + BASE, TLV_SIZE, tlv + 4);
}
#endif

/* The value of an ancillary message, or NULL. */
static inline const void *ancillary(struct msghdr *message, int level, int type)
{
    for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each))
        if (each->cmsg_level == level && each->cmsg_type == type)
            return CMSG_DATA(each);
    return NULL;
}

/* When the kernel received it, wall clock. */
static inline int64_t arrived(struct msghdr *message)
{
    struct timespec at;
    const void *stamp = ancillary(message, SOL_SOCKET, SCM_TIMESTAMPNS);
    if (!stamp)
        return read_clock(CLOCK_REALTIME);
    memcpy(&at, stamp, sizeof at);
    return nanoseconds(at);
}

#endif
