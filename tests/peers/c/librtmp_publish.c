// Publishes an FLV file with librtmp, in real time.
//
//     librtmp_publish rtmp://HOST:PORT/APP/KEY FILE.flv
//
// Prints `publishing` once the server has accepted, `published TAGS BYTES` at the end. Exit status 0 if every tag was sent.

#include <librtmp/log.h>
#include <librtmp/rtmp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { FLV_HEADER = 13, TAG_HEADER = 11, TAG_TRAILER = 4 };

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// Answers what the server says (pings, acknowledgements) until the moment `until`. Returns 0 once it has hung up.
static int serve_until(RTMP *rtmp, int64_t until) {
    for (;;) {
        int64_t left = until - now_ms();
        struct pollfd wanted = {.fd = RTMP_Socket(rtmp), .events = POLLIN};
        if (poll(&wanted, 1, left > 0 ? (int)left : 0) > 0) {
            RTMPPacket packet = {0};
            if (!RTMP_ReadPacket(rtmp, &packet)) return 0;
            if (RTMPPacket_IsReady(&packet)) {
                RTMP_ClientPacket(rtmp, &packet);
                RTMPPacket_Free(&packet);
            }
        } else if (left <= 0) {
            return 1;
        }
    }
}

static int publish(RTMP *rtmp, FILE *file, long *tags, long *bytes) {
    static unsigned char tag[TAG_HEADER + 0xFFFFFF + TAG_TRAILER];
    int64_t start = now_ms();
    int64_t first = -1;
    while (fread(tag, 1, TAG_HEADER, file) == TAG_HEADER) {
        size_t body = (size_t)tag[1] << 16 | (size_t)tag[2] << 8 | tag[3];
        int64_t timestamp = (int64_t)tag[7] << 24 | (int64_t)tag[4] << 16 | (int64_t)tag[5] << 8 | tag[6];
        if (fread(tag + TAG_HEADER, 1, body + TAG_TRAILER, file) != body + TAG_TRAILER) {
            fprintf(stderr, "the file ends within a tag\n");
            return 0;
        }
        if (first < 0) first = timestamp;
        if (!serve_until(rtmp, start + (timestamp - first))) {
            fprintf(stderr, "the server hung up\n");
            return 0;
        }
        int size = (int)(TAG_HEADER + body + TAG_TRAILER);
        if (RTMP_Write(rtmp, (const char *)tag, size) <= 0) {
            fprintf(stderr, "RTMP_Write failed\n");
            return 0;
        }
        *tags += 1;
        *bytes += size;
    }
    return 1;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: %s rtmp://HOST:PORT/APP/KEY FILE.flv\n", argv[0]);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    FILE *file = fopen(argv[2], "rb");
    char header[FLV_HEADER];
    if (!file || fread(header, 1, FLV_HEADER, file) != FLV_HEADER || memcmp(header, "FLV", 3) != 0) {
        fprintf(stderr, "%s: not an FLV file\n", argv[2]);
        return 2;
    }
    RTMP_LogSetLevel(RTMP_LOGINFO);
    RTMP *rtmp = RTMP_Alloc();
    RTMP_Init(rtmp);
    rtmp->Link.timeout = 10;
    char *url = strdup(argv[1]);
    if (!RTMP_SetupURL(rtmp, url)) {
        fprintf(stderr, "librtmp does not take this URL\n");
        return 2;
    }
    RTMP_EnableWrite(rtmp);
    if (!RTMP_Connect(rtmp, NULL) || !RTMP_ConnectStream(rtmp, 0)) {
        fprintf(stderr, "the server does not take the stream\n");
        return 1;
    }
    printf("publishing\n");
    fflush(stdout);
    long tags = 0, bytes = 0;
    int sent = publish(rtmp, file, &tags, &bytes);
    RTMP_Close(rtmp);
    RTMP_Free(rtmp);
    free(url);
    fclose(file);
    printf("published %ld %ld\n", tags, bytes);
    return sent ? 0 : 1;
}
