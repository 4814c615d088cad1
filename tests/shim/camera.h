// An emulated camera: what its files say, and which image is due when.
#ifndef DEXUMI_SHIM_CAMERA_H
#define DEXUMI_SHIM_CAMERA_H

#include <linux/videodev2.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { MODES = 32, CONTROLS = 32, ITEMS = 8, IMAGES = 64, PLANS = 256, BUFFERS = 32, TEXT = 512 };

struct mode {
    uint32_t fourcc, width, height, numerator, denominator;
};

struct item {
    int64_t value;
    char name[32];
};

struct control {
    uint32_t id, type;
    char name[32];
    int64_t least, greatest, step, initial, value;
    struct item items[ITEMS];
    int item_count;
};

// What happens to the image that is due as number `due` since the program began.
struct plan {
    uint64_t due, count;
    char fate[16];
};

struct image {
    uint8_t *data;
    size_t length;
};

enum stamps { STAMP_START, STAMP_END, STAMP_NONE, STAMP_FUTURE };

// One camera, shared by all that have a node of it open.
struct camera {
    char folder[TEXT], driver[16], card[32], bus[32];
    struct mode modes[MODES];
    int mode_count;
    struct control controls[CONTROLS];
    int control_count;
    struct plan plans[PLANS];
    int plan_count;
    struct image images[IMAGES];
    int image_count;
    enum stamps stamps;
    bool forgets;  // its controls, when the stream starts
    uint64_t due;  // images so far, whatever became of them
    struct camera *next;
    pthread_mutex_t lock;
};

// Reads a camera's files; the same camera again is the same value. NULL when there
// is no such camera. Not thread-safe: callers hold the table's lock.
struct camera *camera_of(const char *root, const char *name);

// Whether the camera has a file of this name just now: `freeze`, `busy`, `denied`.
bool camera_flag(const struct camera *camera, const char *name);

// Fate of the image that is due next; "" for a good one.
const char *camera_fate(const struct camera *camera);

// Fills a buffer with the image that is due, and returns its length.
size_t camera_fill(const struct camera *camera, const struct mode *mode, const char *fate,
                   uint8_t *buffer, size_t room);

// Appends a line to a file of the camera.
void camera_log(const struct camera *camera, const char *file, const char *line);

// Files past the interposed functions.
int plain_open(const char *path, int flags, unsigned mode);
int plain_close(int fd);
bool plain_exists(const char *path);

size_t image_bytes(const struct mode *mode);
uint32_t bytes_per_line(const struct mode *mode);

#endif
