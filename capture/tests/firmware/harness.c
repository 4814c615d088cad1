/* Gives dexumi_board.h to a test: packets to encode and bytes to receive come on
 * standard input, as records of operation, u16 length, bytes; what becomes of
 * them leaves as u16 length, bytes. */
#include <stdio.h>

#include "dexumi_board.h"

static uint8_t input[4096], line[DEXUMI_LINE_BYTES(DEXUMI_MAX_PAYLOAD)];

static void answer(const uint8_t *bytes, size_t length)
{
    putchar((int)(length & 255));
    putchar((int)(length >> 8));
    fwrite(bytes, 1, length, stdout);
}

static void encode(size_t length)
{
    dexumi_writer w;
    dexumi_begin(&w, line, sizeof line, input[0], input[1],
                 (uint16_t)(input[2] | input[3] << 8), dexumi_u32_at(input + 4));
    dexumi_bytes(&w, input + 8, length - 8);
    answer(line, dexumi_end(&w));
}

static void receive(size_t length)
{
    static dexumi_receiver receiver;
    uint8_t requests[4096];
    size_t count = 0, i;
    uint32_t id = 0;
    for (i = 0; i < length; i++) {
        uint8_t kind = dexumi_receive(&receiver, input[i], &id);
        if (kind && count + 5 <= sizeof requests) {
            requests[count++] = kind;
            requests[count++] = (uint8_t)id;
            requests[count++] = (uint8_t)(id >> 8);
            requests[count++] = (uint8_t)(id >> 16);
            requests[count++] = (uint8_t)(id >> 24);
        }
    }
    answer(requests, count);
}

/* A packet in a buffer that is too small by some bytes, or just large enough. */
static void squeeze(size_t length)
{
    size_t size;
    for (size = 0; size <= sizeof line; size++) {
        dexumi_writer w;
        size_t used;
        memset(line, 0x5A, sizeof line);
        dexumi_begin(&w, line, size, DEXUMI_SAMPLE, 1, 2, 3);
        dexumi_bytes(&w, input, length);
        used = dexumi_end(&w);
        if (size < sizeof line && line[size] != 0x5A) {
            answer((const uint8_t *)"overrun", 7);
            return;
        }
        if (used) {
            answer(line, used);
            return;
        }
    }
    answer(line, 0);
}

int main(void)
{
    for (;;) {
        int operation = getchar(), low = getchar(), high = getchar();
        size_t length = (size_t)(low | high << 8);
        if (high == EOF || length > sizeof input || fread(input, 1, length, stdin) != length)
            return 0;
        switch (operation) {
        case 'E':
            encode(length);
            break;
        case 'R':
            receive(length);
            break;
        case 'S':
            squeeze(length);
            break;
        }
        fflush(stdout);
    }
}
