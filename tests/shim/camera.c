#define _GNU_SOURCE
#include "camera.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static struct camera *cameras;

static void path_of(char *path, const char *folder, const char *name) {
    if ((size_t)snprintf(path, TEXT, "%s/%s", folder, name) >= TEXT) path[0] = 0;
}

// All of a file, with a zero behind it, for the caller to free.
static uint8_t *slurp(const char *path, size_t *length) {
    int fd = plain_open(path, O_RDONLY | O_CLOEXEC, 0);
    if (fd < 0) return NULL;
    struct stat about;
    uint8_t *data = NULL;
    *length = 0;
    if (fstat(fd, &about) == 0 && about.st_size >= 0 && about.st_size < (64 << 20)) {
        data = malloc((size_t)about.st_size + 1);
        while (data && *length < (size_t)about.st_size) {
            ssize_t got = read(fd, data + *length, (size_t)about.st_size - *length);
            if (got <= 0) break;
            *length += (size_t)got;
        }
        if (data) data[*length] = 0;
    }
    plain_close(fd);
    return data;
}

static uint32_t fourcc_of(const char *letters) {
    return v4l2_fourcc(letters[0], letters[1], letters[2], letters[3]);
}

static void copy(char *to, size_t room, const char *from) {
    snprintf(to, room, "%s", from);
}

// One line of the file `camera`: a word and what belongs to it.
static void read_line(struct camera *camera, const char *line) {
    struct mode mode;
    struct control control = {0};
    char letters[5] = "", type[16] = "", name[64] = "";
    unsigned id;
    long long value, a, b, c, d;
    int at = 0;
    if (strncmp(line, "driver ", 7) == 0) copy(camera->driver, sizeof camera->driver, line + 7);
    if (strncmp(line, "card ", 5) == 0) copy(camera->card, sizeof camera->card, line + 5);
    if (strncmp(line, "bus ", 4) == 0) copy(camera->bus, sizeof camera->bus, line + 4);
    if (strcmp(line, "stamps end") == 0) camera->stamps = STAMP_END;
    if (strcmp(line, "stamps none") == 0) camera->stamps = STAMP_NONE;
    if (strcmp(line, "stamps future") == 0) camera->stamps = STAMP_FUTURE;
    if (strcmp(line, "forgets controls") == 0) camera->forgets = true;
    if (sscanf(line, "mode %4s %u %u %u/%u", letters, &mode.width, &mode.height, &mode.numerator,
               &mode.denominator) == 5 &&
        strlen(letters) == 4 && mode.denominator > 0 && mode.numerator > 0 &&
        camera->mode_count < MODES) {
        mode.fourcc = fourcc_of(letters);
        camera->modes[camera->mode_count++] = mode;
    }
    if (sscanf(line, "control %x %15s %lld %lld %lld %lld %n", &id, type, &a, &b, &c, &d, &at) == 6 &&
        at > 0 && camera->control_count < CONTROLS) {
        control.id = id;
        control.type = strcmp(type, "bool") == 0   ? V4L2_CTRL_TYPE_BOOLEAN
                       : strcmp(type, "menu") == 0 ? V4L2_CTRL_TYPE_MENU
                       : strcmp(type, "rect") == 0 ? 0x0107 /* V4L2_CTRL_TYPE_RECT, since Linux 6.14 */
                                                   : V4L2_CTRL_TYPE_INTEGER;
        control.least = a, control.greatest = b, control.step = c;
        control.initial = control.value = d;
        copy(control.name, sizeof control.name, line + at);
        camera->controls[camera->control_count++] = control;
    }
    if (sscanf(line, "item %x %lld %63[^\n]", &id, &value, name) == 3) {
        for (int i = 0; i < camera->control_count; i++) {
            struct control *menu = &camera->controls[i];
            if (menu->id != id || menu->item_count >= ITEMS) continue;
            menu->items[menu->item_count].value = value;
            copy(menu->items[menu->item_count++].name, sizeof menu->items[0].name, name);
        }
    }
}

static void read_plan(struct camera *camera, const char *line) {
    struct plan plan = {.count = 1};
    unsigned long long due, count = 1;
    if (camera->plan_count < PLANS && sscanf(line, "%llu %15s %llu", &due, plan.fate, &count) >= 2) {
        plan.due = due, plan.count = count;
        camera->plans[camera->plan_count++] = plan;
    }
}

static void each_line(struct camera *camera, const char *file,
                      void (*take)(struct camera *, const char *)) {
    char path[TEXT];
    size_t length;
    path_of(path, camera->folder, file);
    char *text = (char *)slurp(path, &length), *rest = text, *line;
    while (rest && (line = strsep(&rest, "\n"))) take(camera, line);
    free(text);
}

struct camera *camera_of(const char *root, const char *name) {
    char folder[TEXT], below[TEXT], path[TEXT];
    if (strchr(name, '/') || (size_t)snprintf(below, TEXT, "cameras/%s", name) >= TEXT) return NULL;
    path_of(folder, root, below);
    for (struct camera *known = cameras; known; known = known->next)
        if (strcmp(known->folder, folder) == 0) return known;
    path_of(path, folder, "camera");
    if (!plain_exists(path)) return NULL;
    struct camera *camera = calloc(1, sizeof *camera);
    if (!camera) return NULL;
    copy(camera->folder, sizeof camera->folder, folder);
    copy(camera->driver, sizeof camera->driver, "uvcvideo");
    each_line(camera, "camera", read_line);
    each_line(camera, "plan", read_plan);
    for (int i = 0; i < IMAGES; i++) {
        char file[32];
        snprintf(file, sizeof file, "images/%03d.jpg", i);
        path_of(path, folder, file);
        struct image image = {.data = slurp(path, &image.length)};
        if (!image.data) break;
        camera->images[camera->image_count++] = image;
    }
    pthread_mutex_init(&camera->lock, NULL);
    camera->next = cameras;
    return cameras = camera;
}

bool camera_flag(const struct camera *camera, const char *name) {
    char path[TEXT];
    path_of(path, camera->folder, name);
    return plain_exists(path);
}

const char *camera_fate(const struct camera *camera) {
    for (int i = 0; i < camera->plan_count; i++) {
        const struct plan *plan = &camera->plans[i];
        if (camera->due >= plan->due && camera->due < plan->due + plan->count) return plan->fate;
    }
    return "";
}

uint32_t bytes_per_line(const struct mode *mode) {
    switch (mode->fourcc) {
        case V4L2_PIX_FMT_YUYV: return 2 * mode->width;
        case V4L2_PIX_FMT_NV12:
        case V4L2_PIX_FMT_GREY: return mode->width;
        default: return 0;
    }
}

// Compressed images get as much room as pixels would need, as uvcvideo gives them.
size_t image_bytes(const struct mode *mode) {
    size_t pixels = (size_t)mode->width * mode->height;
    switch (mode->fourcc) {
        case V4L2_PIX_FMT_NV12: return pixels * 3 / 2;
        case V4L2_PIX_FMT_GREY: return pixels;
        default: return 2 * pixels;
    }
}

size_t camera_fill(const struct camera *camera, const struct mode *mode, const char *fate,
                   uint8_t *buffer, size_t room) {
    size_t length = image_bytes(mode) < room ? image_bytes(mode) : room;
    if (mode->fourcc == V4L2_PIX_FMT_MJPEG) {
        if (camera->image_count == 0) return 0;
        const struct image *image = &camera->images[camera->due % (uint64_t)camera->image_count];
        length = image->length < room ? image->length : room;
        // Of one that is cut, what an older image left behind it stays.
        memcpy(buffer, image->data, strcmp(fate, "truncate") == 0 ? length / 2 : length);
    } else {
        // Byte i of image n: tests know the same rule.
        for (size_t i = 0; i < length; i++) buffer[i] = (uint8_t)(16 + (i + 7 * camera->due) % 200);
    }
    if (strcmp(fate, "truncate") == 0) return length / 2;
    if (strcmp(fate, "empty") == 0) return 0;
    if (strcmp(fate, "corrupt") == 0 && length > 4) buffer[3] = 0x02;  // a marker that is reserved
    if (strcmp(fate, "pad") == 0 && length + 100 <= room) {
        memset(buffer + length, 0, 100);
        length += 100;
    }
    return length;
}

void camera_log(const struct camera *camera, const char *file, const char *line) {
    char path[TEXT];
    path_of(path, camera->folder, file);
    int fd = plain_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return;
    size_t length = strlen(line);
    // The line is short: it goes as a whole, or a test will miss it.
    if (write(fd, line, length) != (ssize_t)length) abort();
    plain_close(fd);
}
