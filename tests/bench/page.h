/* A page of memory that a program here shares with the bench: orders in, figures out. The bench
   reads it while the program runs, and bills it for nothing: no call, no signal, no wake-up. */

#ifndef PAGE_H
#define PAGE_H

#include <err.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

enum order { PAUSE, GO, END };

/* In the order in which programs.py has them. */
struct page {
    uint64_t order;
    uint64_t port;     /* of the reflector: the bench may change it while the monitor pauses */
    uint64_t is_ready;
    uint64_t sent;     /* heartbeats of a monitor, replies of a reflector */
    uint64_t received; /* replies to a monitor, requests to a reflector */
    uint64_t lost;     /* heartbeats without a reply at their deadline */
    uint64_t late;     /* replies that came after it */
    uint64_t refused;  /* datagrams that are not what they should be */
    uint64_t up;       /* peers */
    uint64_t down;     /* verdicts */
};

static inline volatile struct page *share_page(const char *file)
{
    int fd = open(file, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        err(1, "%s", file);
    void *page = mmap(NULL, sizeof(struct page), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (page == MAP_FAILED)
        err(1, "%s", file);
    close(fd);
    prctl(PR_SET_PDEATHSIG, SIGKILL);  /* whatever becomes of the bench, nothing is left behind */
    prctl(PR_SET_TIMERSLACK, 1);
    return page;
}

#endif
