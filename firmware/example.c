/*
 * A whole board in the dexumi board protocol, on standard input and output: six
 * joints with a supply reference at 500 Hz, a fingertip of three axes at 100 Hz,
 * an inertial unit at 200 Hz. What a microcontroller does with its timer and its
 * UART this does with POSIX; all else is as it would be there.
 *
 *     cc -std=c99 -O2 -o example example.c -lm
 *     socat PTY,link=/tmp/board,rawer EXEC:./example
 *
 * and, in rig.toml: driver = "dexumi_board", address = "/tmp/board".
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#define _POSIX_C_SOURCE 200112L
#include <math.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "dexumi_board.h"

enum { ENCODERS = 1, THUMB, IMU, CHANNELS = IMU };

static uint8_t line[DEXUMI_LINE_BYTES(256)];
static dexumi_writer w;

/* The counter of microseconds. */
static uint32_t micros(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

/* The UART. */
static void uart_send(size_t length)
{
    size_t sent = 0;
    while (sent < length) {
        ssize_t count = write(STDOUT_FILENO, line + sent, length - sent);
        if (count <= 0)
            exit(0);
        sent += (size_t)count;
    }
}

static void describe(int started)
{
    uint32_t now = micros();
    uart_send(dexumi_describe_board(line, sizeof line, now, CHANNELS, started, "example board",
                                    "1.0.0", "POSIX-1"));

    dexumi_describe_channel(&w, line, sizeof line, now, ENCODERS, 2, 500000, 0, "joints");
    dexumi_field(&w, DEXUMI_ANGLE, DEXUMI_I32, 6, 0, 0, "count");
    dexumi_field(&w, DEXUMI_REFERENCE, DEXUMI_I32, 1, 0, 0, "count");
    uart_send(dexumi_end(&w));

    dexumi_describe_channel(&w, line, sizeof line, now, THUMB, 1, 100000, 0, "thumb");
    dexumi_field(&w, DEXUMI_FORCE, DEXUMI_I16, 3, 0, 0.01f, "N");
    uart_send(dexumi_end(&w));

    dexumi_describe_channel(&w, line, sizeof line, now, IMU, 2, 200000, 0, "imu");
    dexumi_field(&w, DEXUMI_ACCELERATION, DEXUMI_I16, 3, 0, 9.80665f / 4096, "m/s2");
    dexumi_field(&w, DEXUMI_ANGULAR_VELOCITY, DEXUMI_I16, 3, 0, 0.001f, "rad/s");
    uart_send(dexumi_end(&w));
}

static void sample(uint8_t channel, uint16_t sequence)
{
    uint32_t now = micros();
    double t = now * 1e-6;
    int i;
    dexumi_begin(&w, line, sizeof line, DEXUMI_SAMPLE, channel, sequence, now);
    switch (channel) {
    case ENCODERS:
        for (i = 0; i < 6; i++)
            dexumi_i32(&w, (int32_t)(1000000 + 100000 * sin(t + i)));
        dexumi_i32(&w, 5536481);
        break;
    case THUMB:
        for (i = 0; i < 3; i++)
            dexumi_i16(&w, (int16_t)(100 * sin(t + i)));
        break;
    case IMU:
        for (i = 0; i < 3; i++)
            dexumi_i16(&w, i == 2 ? 4096 : 0);
        for (i = 0; i < 3; i++)
            dexumi_i16(&w, (int16_t)(500 * cos(t)));
        break;
    }
    uart_send(dexumi_end(&w));
}

static void serve_host(void)
{
    static dexumi_receiver receiver;
    static uint16_t pongs;
    uint8_t bytes[64];
    uint32_t id;
    ssize_t count = read(STDIN_FILENO, bytes, sizeof bytes), i;
    uint32_t now = micros();
    if (count <= 0)
        exit(0);
    for (i = 0; i < count; i++)
        switch (dexumi_receive(&receiver, bytes[i], &id)) {
        case DEXUMI_PING:
            uart_send(dexumi_pong(line, sizeof line, pongs++, now, id));
            break;
        case DEXUMI_DESCRIBE:
            describe(0);
            break;
        }
}

int main(void)
{
    static const uint32_t period_us[CHANNELS] = {2000, 10000, 5000};
    uint16_t sequence[CHANNELS] = {0};
    uint32_t next[CHANNELS];
    int c;
    for (c = 0; c < CHANNELS; c++)
        next[c] = micros();
    describe(1);
    for (;;) {
        struct pollfd host;
        host.fd = STDIN_FILENO;
        host.events = POLLIN;
        /* The host first: its question waits for one sample at most. */
        if (poll(&host, 1, 1) > 0)
            serve_host();
        for (c = 0; c < CHANNELS; c++)
            if ((int32_t)(micros() - next[c]) >= 0) {
                next[c] += period_us[c];
                sample((uint8_t)(c + 1), sequence[c]++);
            }
    }
}
