/*
 * dexumi board protocol, version 1, for firmware.
 *
 * One header, C99 or C++, no heap, nothing of the C library but memcpy and
 * strlen. The specification is docs/board-protocol.md, a whole board is
 * example.c beside this file. In short:
 *
 *     uint8_t line[DEXUMI_LINE_BYTES(64)];          room for a payload of 64 bytes
 *     dexumi_writer w;
 *     dexumi_begin(&w, line, sizeof line, DEXUMI_SAMPLE, 1, sequence++, sampled_us);
 *     for (i = 0; i < 12; i++) dexumi_i32(&w, angle[i]);
 *     uart_send(line, dexumi_end(&w));
 *
 *     static dexumi_receiver receiver;              all zero at start
 *     while (uart_read(&byte))
 *         switch (dexumi_receive(&receiver, byte, &id)) {
 *         case DEXUMI_PING:     uart_send(line, dexumi_pong(line, sizeof line, pongs++, micros(), id)); break;
 *         case DEXUMI_DESCRIBE: describe(0); break;
 *         }
 *
 * Times are those of one free-running counter of microseconds, 32 bits, that
 * wraps from 0xFFFFFFFF to 0. A sample's time is when it was measured, a pong's
 * when the ping was taken from the receive buffer.
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef DEXUMI_BOARD_H
#define DEXUMI_BOARD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define DEXUMI_VERSION 1

/* Kinds of packets. */
#define DEXUMI_BOARD 0x01
#define DEXUMI_CHANNEL 0x02
#define DEXUMI_SAMPLE 0x03
#define DEXUMI_PONG 0x04
#define DEXUMI_TEXT 0x05
#define DEXUMI_DESCRIBE 0x81
#define DEXUMI_PING 0x82

/* Roles of fields. */
#define DEXUMI_ANGLE 1
#define DEXUMI_REFERENCE 2
#define DEXUMI_FORCE 3
#define DEXUMI_TAXELS 4
#define DEXUMI_ACCELERATION 5
#define DEXUMI_ANGULAR_VELOCITY 6

/* Formats of their elements. */
#define DEXUMI_I8 1
#define DEXUMI_U8 2
#define DEXUMI_I16 3
#define DEXUMI_U16 4
#define DEXUMI_I32 5
#define DEXUMI_F32 6

/* Header and CRC of a packet, and its longest payload. */
#define DEXUMI_OVERHEAD 12
#define DEXUMI_MAX_PAYLOAD (1024 - DEXUMI_OVERHEAD)
/* Room that a packet with such a payload takes on the line at most. */
#define DEXUMI_LINE_BYTES(payload) \
    ((payload) + DEXUMI_OVERHEAD + ((payload) + DEXUMI_OVERHEAD + 253) / 254 + 1)

/* A packet on its way into a buffer: stuffed and summed byte by byte. */
typedef struct {
    uint8_t *line;
    size_t size;
    size_t at;      /* where the next byte goes */
    size_t code_at; /* where the length of the present block goes */
    uint32_t crc;
    uint8_t code;      /* length of the present block, plus one */
    uint8_t after_run; /* the block before is full: it stands for no zero */
    uint8_t too_long;
} dexumi_writer;

static inline uint32_t dexumi_crc(uint32_t crc, uint8_t byte)
{
    /* CRC-32 of IEEE 802.3, four bits at a time. */
    static const uint32_t table[16] = {
        0x00000000u, 0x1DB71064u, 0x3B6E20C8u, 0x26D930ACu, 0x76DC4190u, 0x6B6B51F4u,
        0x4DB26158u, 0x5005713Cu, 0xEDB88320u, 0xF00F9344u, 0xD6D6A3E8u, 0xCB61B38Cu,
        0x9B64C2B0u, 0x86D3D2D4u, 0xA00AE278u, 0xBDBDF21Cu};
    crc ^= byte;
    crc = crc >> 4 ^ table[crc & 15];
    return crc >> 4 ^ table[crc & 15];
}

static inline void dexumi_stuff(dexumi_writer *w, uint8_t byte)
{
    if (w->at + 2 > w->size) {
        w->too_long = 1;
        return;
    }
    w->after_run = 0;
    if (byte) {
        w->line[w->at++] = byte;
        w->code++;
    }
    if (!byte || w->code == 0xFF) {
        w->after_run = byte != 0;
        w->line[w->code_at] = w->code;
        w->code_at = w->at++;
        w->code = 1;
    }
}

/* The elements of a payload, little-endian. */

static inline void dexumi_u8(dexumi_writer *w, uint8_t value)
{
    w->crc = dexumi_crc(w->crc, value);
    dexumi_stuff(w, value);
}

static inline void dexumi_u16(dexumi_writer *w, uint16_t value)
{
    dexumi_u8(w, (uint8_t)value);
    dexumi_u8(w, (uint8_t)(value >> 8));
}

static inline void dexumi_u32(dexumi_writer *w, uint32_t value)
{
    dexumi_u16(w, (uint16_t)value);
    dexumi_u16(w, (uint16_t)(value >> 16));
}

static inline void dexumi_i16(dexumi_writer *w, int16_t value)
{
    dexumi_u16(w, (uint16_t)value);
}

static inline void dexumi_i32(dexumi_writer *w, int32_t value)
{
    dexumi_u32(w, (uint32_t)value);
}

static inline void dexumi_f32(dexumi_writer *w, float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    dexumi_u32(w, bits);
}

static inline void dexumi_bytes(dexumi_writer *w, const void *bytes, size_t count)
{
    const uint8_t *byte = (const uint8_t *)bytes;
    while (count--)
        dexumi_u8(w, *byte++);
}

/* A text with its length in front, cut at 255 bytes. */
static inline void dexumi_string(dexumi_writer *w, const char *text)
{
    size_t length = strlen(text);
    if (length > 255)
        length = 255;
    dexumi_u8(w, (uint8_t)length);
    dexumi_bytes(w, text, length);
}

/* Starts a packet in a buffer of `size` bytes (DEXUMI_LINE_BYTES). */
static inline void dexumi_begin(dexumi_writer *w, uint8_t *line, size_t size, uint8_t kind,
                                uint8_t channel, uint16_t sequence, uint32_t time_us)
{
    w->line = line;
    w->size = size;
    w->at = 1;
    w->code_at = 0;
    w->crc = 0xFFFFFFFFu;
    w->code = 1;
    w->after_run = 0;
    w->too_long = size < 2;
    dexumi_u8(w, kind);
    dexumi_u8(w, channel);
    dexumi_u16(w, sequence);
    dexumi_u32(w, time_us);
}

/* Ends it; how many bytes of the buffer to send, 0 where it was too small. */
static inline size_t dexumi_end(dexumi_writer *w)
{
    uint32_t crc = ~w->crc;
    int byte;
    for (byte = 0; byte < 4; byte++)
        dexumi_stuff(w, (uint8_t)(crc >> 8 * byte));
    if (w->too_long)
        return 0;
    if (w->after_run)
        w->at = w->code_at; /* nothing is left to say */
    else
        w->line[w->code_at] = w->code;
    w->line[w->at++] = 0;
    return w->at;
}

/* Whole packets. Each returns how many bytes to send. */

/* The board; `started` once after power-on or reset, unasked. */
static inline size_t dexumi_describe_board(uint8_t *line, size_t size, uint32_t time_us,
                                           uint8_t channels, int started, const char *name,
                                           const char *firmware, const char *serial)
{
    dexumi_writer w;
    dexumi_begin(&w, line, size, DEXUMI_BOARD, 0, 0, time_us);
    dexumi_u8(&w, DEXUMI_VERSION);
    dexumi_u8(&w, channels);
    dexumi_u8(&w, started ? 1 : 0);
    dexumi_u8(&w, 0);
    dexumi_string(&w, name);
    dexumi_string(&w, firmware);
    dexumi_string(&w, serial);
    return dexumi_end(&w);
}

/* A channel, numbered from 1: after this one dexumi_field for each of its
 * `fields`, then dexumi_end. */
static inline void dexumi_describe_channel(dexumi_writer *w, uint8_t *line, size_t size,
                                           uint32_t time_us, uint8_t channel, uint8_t fields,
                                           uint32_t rate_mhz, uint32_t scan_us, const char *name)
{
    dexumi_begin(w, line, size, DEXUMI_CHANNEL, channel, 0, time_us);
    dexumi_u8(w, fields);
    dexumi_u32(w, rate_mhz);
    dexumi_u32(w, scan_us);
    dexumi_string(w, name);
}

static inline void dexumi_field(dexumi_writer *w, uint8_t role, uint8_t format, uint16_t count,
                                uint32_t turn, float scale, const char *unit)
{
    dexumi_u8(w, role);
    dexumi_u8(w, format);
    dexumi_u16(w, count);
    dexumi_u32(w, turn);
    dexumi_f32(w, scale);
    dexumi_string(w, unit);
}

/* The answer to a ping: `time_us` as read when the ping was received. */
static inline size_t dexumi_pong(uint8_t *line, size_t size, uint16_t sequence, uint32_t time_us,
                                 uint32_t id)
{
    dexumi_writer w;
    dexumi_begin(&w, line, size, DEXUMI_PONG, 0, sequence, time_us);
    dexumi_u32(&w, id);
    return dexumi_end(&w);
}

/* A line for people. */
static inline size_t dexumi_text(uint8_t *line, size_t size, uint16_t sequence, uint32_t time_us,
                                 int warning, const char *text)
{
    dexumi_writer w;
    dexumi_begin(&w, line, size, DEXUMI_TEXT, 0, sequence, time_us);
    dexumi_u8(&w, warning ? 1 : 0);
    dexumi_bytes(&w, text, strlen(text));
    return dexumi_end(&w);
}

/* What comes from the host: 17 bytes at most, without the delimiter. */
typedef struct {
    uint8_t line[32];
    uint8_t length; /* beyond the buffer: too long to be a request */
} dexumi_receiver;

static inline uint32_t dexumi_u32_at(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
}

/* Takes a received byte; DEXUMI_DESCRIBE or DEXUMI_PING when it completes such a
 * request, else 0. A ping's `id` goes into its pong. */
static inline uint8_t dexumi_receive(dexumi_receiver *r, uint8_t byte, uint32_t *id)
{
    uint8_t body[sizeof r->line];
    uint8_t length = r->length, count = 0, from = 0, code, i;
    uint32_t crc = 0xFFFFFFFFu;
    if (byte) {
        if (length < sizeof r->line)
            r->line[length] = byte;
        if (length <= sizeof r->line)
            r->length++;
        return 0;
    }
    r->length = 0;
    if (length > sizeof r->line)
        return 0;
    while (from < length) {
        code = r->line[from++];
        if (code - 1 > length - from)
            return 0;
        for (i = 1; i < code; i++)
            body[count++] = r->line[from++];
        if (from < length)
            body[count++] = 0;
    }
    if (count < DEXUMI_OVERHEAD)
        return 0;
    for (i = 0; i < count - 4; i++)
        crc = dexumi_crc(crc, body[i]);
    if (~crc != dexumi_u32_at(body + count - 4))
        return 0;
    if (body[0] == DEXUMI_PING && count == DEXUMI_OVERHEAD + 4) {
        *id = dexumi_u32_at(body + 8);
        return DEXUMI_PING;
    }
    return body[0] == DEXUMI_DESCRIBE ? DEXUMI_DESCRIBE : 0;
}

#endif
