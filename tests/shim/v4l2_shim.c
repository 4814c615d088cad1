// Emulated V4L2 cameras for programs that know nothing of them: LD_PRELOAD this, and
// /dev/video*, /dev/v4l and /sys/class/video4linux are those below the folder
// $V4L2_SHIM. No root, no kernel module.
//
//   dev/videoN            one line: the name of the camera, and `metadata` for such a node.
//                         Removing the file is pulling the plug.
//   dev/v4l/…, sys/…      links and folders as the kernel and udev make them
//   cameras/NAME/camera   what it is and offers, see camera.c
//   cameras/NAME/images   000.jpg …, given in turn
//   cameras/NAME/plan     `DUE FATE [COUNT]`: skip, error, truncate, empty, corrupt, pad, freeze,
//                         late (handed over after the next one)
//   cameras/NAME/truth    written here: `DUE SEQUENCE STAMP_NS FATE` of every image that was due;
//                         `full` when no buffer waited for it
//   cameras/NAME/set      written here: `ID VALUE` of every control that was set
//   cameras/NAME/freeze, busy, denied   what their names say, while they exist
//
// There is no thread: which images have become due is reckoned at each call.
#define _GNU_SOURCE
#undef _FORTIFY_SOURCE
#include "camera.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { FILES = 4096 };
#define EXPORT __attribute__((visibility("default")))

// A node that a program has open; guarded by its camera's lock.
struct file {
    struct camera *camera;
    char node[TEXT];
    ino_t inode;
    bool is_metadata, is_gone, streams;
    struct mode mode;
    int memory, buffers;
    uint8_t *map;
    size_t stride;
    int queued[BUFFERS], queue_length, done[BUFFERS], done_length;
    int late, late_length;  // an image that the next one overtakes
    struct v4l2_buffer about[BUFFERS];
    int64_t next_ns;
    uint32_t sequence;
    int users;  // calls in progress, and one for the open descriptor
};

static struct file *files[FILES];
static pthread_mutex_t table = PTHREAD_MUTEX_INITIALIZER;
static char root[TEXT];

static int (*real_open)(const char *, int, ...);
static int (*real_openat)(int, const char *, int, ...);
static int (*real_close)(int);
static int (*real_ioctl)(int, unsigned long, ...);
static long (*real_syscall)(long, ...);
static void *(*real_mmap)(void *, size_t, int, int, int, off_t);
static int (*real_poll)(struct pollfd *, nfds_t, int);
static ssize_t (*real_readlink)(const char *, char *, size_t);
static char *(*real_realpath)(const char *, char *);
static DIR *(*real_opendir)(const char *);
static int (*real_statx)(int, const char *, int, unsigned, struct statx *);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void start(void) {
    *(void **)&real_open = dlsym(RTLD_NEXT, "open");
    *(void **)&real_openat = dlsym(RTLD_NEXT, "openat");
    *(void **)&real_close = dlsym(RTLD_NEXT, "close");
    *(void **)&real_ioctl = dlsym(RTLD_NEXT, "ioctl");
    *(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
    *(void **)&real_mmap = dlsym(RTLD_NEXT, "mmap");
    *(void **)&real_poll = dlsym(RTLD_NEXT, "poll");
    *(void **)&real_readlink = dlsym(RTLD_NEXT, "readlink");
    *(void **)&real_realpath = dlsym(RTLD_NEXT, "realpath");
    *(void **)&real_opendir = dlsym(RTLD_NEXT, "opendir");
    *(void **)&real_statx = dlsym(RTLD_NEXT, "statx");
    const char *folder = getenv("V4L2_SHIM");
    if (folder && strlen(folder) < TEXT) strcpy(root, folder);
}

static void ready(void) { pthread_once(&once, start); }

__attribute__((constructor)) static void load(void) { ready(); }

int plain_open(const char *path, int flags, unsigned mode) { return real_open(path, flags, mode); }
int plain_close(int fd) { return real_close(fd); }

bool plain_exists(const char *path) {
    struct statx about;
    return path[0] && real_statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &about) == 0;
}

static int64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

// ---- paths ----

static bool starts(const char *text, const char *with) { return strncmp(text, with, strlen(with)) == 0; }

// Where a path really is: video's own below the root, always; the rest of /sys and
// the links of serial ports where the root has them.
static const char *real_path(const char *path, char *room) {
    if (!path || !root[0] || (size_t)snprintf(room, TEXT, "%s%s", root, path) >= TEXT) return path;
    if (starts(path, "/dev/video") || starts(path, "/dev/v4l") || starts(path, "/sys/class/video4linux"))
        return room;
    bool may = starts(path, "/sys/") || starts(path, "/dev/serial");
    return may && plain_exists(room) ? room : path;
}

// Takes the root off a path again.
static size_t shorten(char *path, size_t length) {
    size_t cut = strlen(root);
    if (cut == 0 || length <= cut || memcmp(path, root, cut) != 0 || path[cut] != '/') return length;
    memmove(path, path + cut, length - cut);
    return length - cut;
}

// ---- open files ----

static struct file *use(int fd) {
    struct file *file = NULL;
    if (fd < 0 || fd >= FILES) return NULL;
    pthread_mutex_lock(&table);
    if ((file = files[fd])) file->users++;
    pthread_mutex_unlock(&table);
    return file;
}

static void release(struct file *file) {
    pthread_mutex_lock(&table);
    bool last = --file->users == 0;
    pthread_mutex_unlock(&table);
    if (!last) return;
    if (file->map) munmap(file->map, file->stride * (size_t)file->buffers);
    if (file->memory >= 0) real_close(file->memory);
    free(file);
}

static void take_over(int fd, const char *path) {
    char line[128] = "", name[64] = "", kind[64] = "";
    struct stat about;
    ssize_t got = pread(fd, line, sizeof line - 1, 0);
    if (got <= 0 || fd >= FILES || fstat(fd, &about) != 0) return;
    if (sscanf(line, "%63s %63s", name, kind) < 1) return;
    struct file *file = calloc(1, sizeof *file);
    if (!file) return;
    pthread_mutex_lock(&table);
    file->camera = camera_of(root, name);
    if (file->camera && !files[fd]) {
        snprintf(file->node, sizeof file->node, "%s", path);
        file->inode = about.st_ino;
        file->is_metadata = strcmp(kind, "metadata") == 0;
        file->memory = -1;
        file->users = 1;
        if (file->camera->mode_count > 0) file->mode = file->camera->modes[0];
        files[fd] = file;
        file = NULL;
    }
    pthread_mutex_unlock(&table);
    free(file);
}

static bool is_denied(const char *path) {
    char line[128] = "", name[64] = "";
    int fd = real_open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return false;
    ssize_t got = read(fd, line, sizeof line - 1);
    real_close(fd);
    if (got <= 0 || sscanf(line, "%63s", name) != 1) return false;
    pthread_mutex_lock(&table);
    struct camera *camera = camera_of(root, name);
    pthread_mutex_unlock(&table);
    return camera && camera_flag(camera, "denied");
}

static int open_path(int folder, const char *path, int flags, unsigned mode) {
    char room[TEXT];
    ready();
    const char *at = real_path(path, room);
    bool is_node = at == room && starts(path, "/dev/video");
    if (is_node && is_denied(at)) {
        errno = EACCES;
        return -1;
    }
    int fd = real_openat(folder, at, flags, mode);
    if (fd >= 0 && is_node) take_over(fd, at);
    return fd;
}

static bool is_gone(struct file *file) {
    struct stat about;
    if (!file->is_gone)
        file->is_gone = fstatat(AT_FDCWD, file->node, &about, 0) != 0 || about.st_ino != file->inode;
    return file->is_gone;
}

// ---- images ----

static void finish(struct file *file, int index, const char *fate, int64_t due_ns) {
    struct v4l2_buffer *about = &file->about[index];
    enum stamps stamps = file->camera->stamps;
    int64_t stamp_ns = stamps == STAMP_FUTURE ? due_ns + 31000000 : due_ns;
    about->bytesused = (uint32_t)camera_fill(file->camera, &file->mode, fate,
                                             file->map + (size_t)index * file->stride, file->stride);
    about->sequence = file->sequence;
    about->timestamp.tv_sec = stamp_ns / 1000000000;
    about->timestamp.tv_usec = stamp_ns / 1000 % 1000000;
    about->flags = V4L2_BUF_FLAG_MAPPED | V4L2_BUF_FLAG_DONE;
    if (stamps != STAMP_NONE) about->flags |= V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC;
    if (stamps == STAMP_START || stamps == STAMP_FUTURE) about->flags |= V4L2_BUF_FLAG_TSTAMP_SRC_SOE;
    if (strcmp(fate, "error") == 0) about->flags |= V4L2_BUF_FLAG_ERROR;
    if (strcmp(fate, "late") == 0 && file->late_length == 0) {
        file->late = index;
        file->late_length = 1;
        return;
    }
    file->done[file->done_length++] = index;
    if (file->late_length) file->done[file->done_length++] = file->late;
    file->late_length = 0;
}

// Makes the images that have become due since the last call.
static void advance(struct file *file) {
    if (!file->streams || is_gone(file)) return;
    struct camera *camera = file->camera;
    int64_t period_ns = 1000000000LL * file->mode.numerator / file->mode.denominator;
    for (int64_t now = now_ns(); file->next_ns <= now; file->next_ns += period_ns) {
        if (camera_flag(camera, "freeze")) continue;
        const char *fate = camera_fate(camera);
        char line[128];
        if (strcmp(fate, "freeze") != 0) {
            bool is_skipped = strcmp(fate, "skip") == 0;
            bool is_full = !is_skipped && file->queue_length == 0;
            snprintf(line, sizeof line, "%llu %u %lld %s\n", (unsigned long long)camera->due,
                     file->sequence, (long long)file->next_ns,
                     is_full ? "full" : fate[0] ? fate : "good");
            camera_log(camera, "truth", line);
            if (!is_skipped && !is_full) {
                int index = file->queued[0];
                memmove(file->queued, file->queued + 1, sizeof(int) * (size_t)--file->queue_length);
                finish(file, index, fate, file->next_ns);
            }
            file->sequence++;
        }
        camera->due++;
    }
}

// ---- ioctl ----

static int fail(int number) {
    errno = number;
    return -1;
}

static int capability(struct file *file, struct v4l2_capability *cap) {
    memset(cap, 0, sizeof *cap);
    snprintf((char *)cap->driver, sizeof cap->driver, "%s", file->camera->driver);
    snprintf((char *)cap->card, sizeof cap->card, "%s", file->camera->card);
    snprintf((char *)cap->bus_info, sizeof cap->bus_info, "%s", file->camera->bus);
    cap->version = 6 << 16 | 1 << 8;
    cap->device_caps = V4L2_CAP_STREAMING | V4L2_CAP_EXT_PIX_FORMAT |
                       (file->is_metadata ? V4L2_CAP_META_CAPTURE : V4L2_CAP_VIDEO_CAPTURE);
    cap->capabilities = cap->device_caps | V4L2_CAP_VIDEO_CAPTURE | V4L2_CAP_META_CAPTURE |
                        V4L2_CAP_DEVICE_CAPS;
    return 0;
}

// The `wanted`-th different mode of those that `same` accepts; modes of one format,
// and of one size, stand together.
static const struct mode *nth(const struct camera *camera, uint32_t wanted,
                              bool (*same)(const struct mode *, const struct mode *),
                              bool (*fits)(const struct mode *, const struct mode *),
                              const struct mode *like) {
    const struct mode *last = NULL;
    for (int i = 0; i < camera->mode_count; i++) {
        const struct mode *mode = &camera->modes[i];
        if (!fits(mode, like) || (last && same(last, mode))) continue;
        if (wanted-- == 0) return mode;
        last = mode;
    }
    return NULL;
}

static bool any(const struct mode *mode, const struct mode *like) { return (void)mode, (void)like, true; }
static bool same_fourcc(const struct mode *a, const struct mode *b) { return a->fourcc == b->fourcc; }
static bool same_size(const struct mode *a, const struct mode *b) {
    return same_fourcc(a, b) && a->width == b->width && a->height == b->height;
}
static bool same_rate(const struct mode *a, const struct mode *b) {
    return same_size(a, b) && a->numerator == b->numerator && a->denominator == b->denominator;
}

static int list_formats(struct file *file, struct v4l2_fmtdesc *format) {
    const struct mode *mode = nth(file->camera, format->index, same_fourcc, any, NULL);
    if (file->is_metadata || format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE || !mode) return fail(EINVAL);
    format->pixelformat = mode->fourcc;
    format->flags = mode->fourcc == V4L2_PIX_FMT_MJPEG ? V4L2_FMT_FLAG_COMPRESSED : 0;
    snprintf((char *)format->description, sizeof format->description, "Emulated");
    return 0;
}

static int list_sizes(struct file *file, struct v4l2_frmsizeenum *size) {
    struct mode like = {.fourcc = size->pixel_format};
    const struct mode *mode = nth(file->camera, size->index, same_size, same_fourcc, &like);
    if (!mode) return fail(EINVAL);
    size->type = V4L2_FRMSIZE_TYPE_DISCRETE;
    size->discrete.width = mode->width;
    size->discrete.height = mode->height;
    return 0;
}

static int list_intervals(struct file *file, struct v4l2_frmivalenum *interval) {
    struct mode like = {interval->pixel_format, interval->width, interval->height, 0, 0};
    const struct mode *mode = nth(file->camera, interval->index, same_rate, same_size, &like);
    if (!mode) return fail(EINVAL);
    interval->type = V4L2_FRMIVAL_TYPE_DISCRETE;
    interval->discrete.numerator = mode->numerator;
    interval->discrete.denominator = mode->denominator;
    return 0;
}

static void show_format(const struct file *file, struct v4l2_format *format) {
    struct v4l2_pix_format *pix = &format->fmt.pix;
    memset(&format->fmt, 0, sizeof format->fmt);
    pix->width = file->mode.width;
    pix->height = file->mode.height;
    pix->pixelformat = file->mode.fourcc;
    pix->field = V4L2_FIELD_NONE;
    pix->bytesperline = bytes_per_line(&file->mode);
    pix->sizeimage = (uint32_t)image_bytes(&file->mode);
    pix->colorspace = V4L2_COLORSPACE_SRGB;
}

// Takes the format if the camera has it, else its first one, as UVC cameras do.
static int set_format(struct file *file, struct v4l2_format *format) {
    if (file->is_metadata || format->type != V4L2_BUF_TYPE_VIDEO_CAPTURE) return fail(EINVAL);
    if (file->buffers > 0 || camera_flag(file->camera, "busy")) return fail(EBUSY);
    struct mode like = {format->fmt.pix.pixelformat, format->fmt.pix.width, format->fmt.pix.height, 0, 0};
    const struct mode *mode = nth(file->camera, 0, same_size, same_size, &like);
    if (!mode) mode = nth(file->camera, 0, same_fourcc, any, NULL);
    if (!mode) return fail(EINVAL);
    file->mode = *mode;
    show_format(file, format);
    return 0;
}

static void show_rate(const struct file *file, struct v4l2_streamparm *parm) {
    memset(&parm->parm, 0, sizeof parm->parm);
    parm->parm.capture.capability = V4L2_CAP_TIMEPERFRAME;
    parm->parm.capture.timeperframe.numerator = file->mode.numerator;
    parm->parm.capture.timeperframe.denominator = file->mode.denominator;
}

// Takes the nearest rate of the size that is set.
static int set_rate(struct file *file, struct v4l2_streamparm *parm) {
    if (file->streams || camera_flag(file->camera, "busy")) return fail(EBUSY);
    const struct v4l2_fract *wanted = &parm->parm.capture.timeperframe;
    double wish = wanted->denominator ? (double)wanted->numerator / wanted->denominator : 0, best = 1e9;
    struct mode like = file->mode;
    for (int i = 0; i < file->camera->mode_count; i++) {
        const struct mode *mode = &file->camera->modes[i];
        double off = (double)mode->numerator / mode->denominator - wish;
        if (off < 0) off = -off;
        if (same_size(mode, &like) && off < best) best = off, file->mode = *mode;
    }
    show_rate(file, parm);
    return 0;
}

static void drop_buffers(struct file *file) {
    if (file->map) munmap(file->map, file->stride * (size_t)file->buffers);
    if (file->memory >= 0) real_close(file->memory);
    file->map = NULL;
    file->memory = -1;
    file->buffers = file->queue_length = file->done_length = file->late_length = 0;
}

static int request_buffers(struct file *file, struct v4l2_requestbuffers *request) {
    if (file->is_metadata || request->memory != V4L2_MEMORY_MMAP) return fail(EINVAL);
    if (file->streams || camera_flag(file->camera, "busy")) return fail(EBUSY);
    drop_buffers(file);
    if (request->count == 0) return 0;
    int count = request->count < BUFFERS ? (int)request->count : BUFFERS;
    file->stride = (image_bytes(&file->mode) + 4095) / 4096 * 4096;
    size_t length = file->stride * (size_t)count;
    file->memory = memfd_create("v4l2_shim", MFD_CLOEXEC);
    if (file->memory < 0 || ftruncate(file->memory, (off_t)length) != 0) return fail(ENOMEM);
    void *map = real_mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED, file->memory, 0);
    if (map == MAP_FAILED) return fail(ENOMEM);
    file->map = map;
    file->buffers = count;
    request->count = (uint32_t)count;
    // Memory that was used before: full of end markers.
    for (size_t i = 0; i + 1 < length; i += 2) file->map[i] = 0xFF, file->map[i + 1] = 0xD9;
    for (int i = 0; i < count; i++)
        file->about[i] = (struct v4l2_buffer){.index = (uint32_t)i,
                                              .type = V4L2_BUF_TYPE_VIDEO_CAPTURE,
                                              .memory = V4L2_MEMORY_MMAP,
                                              .field = V4L2_FIELD_NONE,
                                              .length = (uint32_t)file->stride,
                                              .m.offset = (uint32_t)(file->stride * (size_t)i)};
    return 0;
}

static int query_buffer(struct file *file, struct v4l2_buffer *buffer) {
    if (buffer->index >= (uint32_t)file->buffers) return fail(EINVAL);
    *buffer = file->about[buffer->index];
    return 0;
}

static int queue(struct file *file, struct v4l2_buffer *buffer) {
    if (buffer->index >= (uint32_t)file->buffers) return fail(EINVAL);
    int index = (int)buffer->index;
    for (int i = 0; i < file->queue_length; i++)
        if (file->queued[i] == index) return fail(EINVAL);
    for (int i = 0; i < file->done_length; i++)
        if (file->done[i] == index) return fail(EINVAL);
    file->queued[file->queue_length++] = index;
    return 0;
}

static int dequeue(struct file *file, struct v4l2_buffer *buffer) {
    if (!file->streams) return fail(EINVAL);
    if (file->done_length == 0) return fail(EAGAIN);
    *buffer = file->about[file->done[0]];
    memmove(file->done, file->done + 1, sizeof(int) * (size_t)--file->done_length);
    return 0;
}

static int stream(struct file *file, bool on) {
    if (on && (file->buffers == 0 || file->is_metadata)) return fail(EINVAL);
    if (on && camera_flag(file->camera, "busy")) return fail(EBUSY);
    if (on && !file->streams) {
        file->sequence = 0;
        file->next_ns = now_ns() + 1000000000LL * file->mode.numerator / file->mode.denominator;
        for (int i = 0; file->camera->forgets && i < file->camera->control_count; i++)
            file->camera->controls[i].value = file->camera->controls[i].initial;
        file->camera->forgets = false;
    }
    if (!on) file->queue_length = file->done_length = file->late_length = 0;
    file->streams = on;
    return 0;
}

static int query_control(struct file *file, struct v4l2_query_ext_ctrl *query) {
    uint32_t id = query->id & V4L2_CTRL_ID_MASK;
    bool next = query->id & (V4L2_CTRL_FLAG_NEXT_CTRL | V4L2_CTRL_FLAG_NEXT_COMPOUND);
    bool compound = !next || query->id & V4L2_CTRL_FLAG_NEXT_COMPOUND;
    const struct control *found = NULL;
    for (int i = 0; i < file->camera->control_count; i++) {
        const struct control *control = &file->camera->controls[i];
        if (control->type >= 0x100 && !compound) continue;
        bool is_it = next ? control->id > id : control->id == id;
        if (is_it && (!found || control->id < found->id)) found = control;
    }
    if (!found || file->is_metadata) return fail(EINVAL);
    memset(query, 0, sizeof *query);
    query->id = found->id;
    query->type = found->type;
    memcpy(query->name, found->name, sizeof query->name);
    query->minimum = found->least;
    query->maximum = found->greatest;
    query->step = (uint64_t)found->step;
    query->default_value = found->initial;
    query->elem_size = 4;
    query->elems = 1;
    return 0;
}

static struct control *control_of(struct file *file, uint32_t id) {
    for (int i = 0; i < file->camera->control_count; i++)
        if (file->camera->controls[i].id == id) return &file->camera->controls[i];
    return NULL;
}

static bool has_item(const struct control *control, int64_t value, const char **name) {
    for (int i = 0; i < control->item_count; i++)
        if (control->items[i].value == value) return *name = control->items[i].name, true;
    return false;
}

static int query_menu(struct file *file, struct v4l2_querymenu *menu) {
    const struct control *control = control_of(file, menu->id);
    const char *name;
    if (!control || !has_item(control, menu->index, &name)) return fail(EINVAL);
    snprintf((char *)menu->name, sizeof menu->name, "%s", name);
    return 0;
}

// Numbers are clamped and rounded as the kernel does, menus refuse what they lack.
static int controls(struct file *file, struct v4l2_ext_controls *list, bool set) {
    for (uint32_t i = 0; i < list->count; i++) {
        struct control *control = control_of(file, list->controls[i].id);
        const char *name;
        if (!control || control->type >= 0x100) return fail(EINVAL);
        if (!set) {
            list->controls[i].value = (int32_t)control->value;
            continue;
        }
        int64_t value = list->controls[i].value;
        if (control->type == V4L2_CTRL_TYPE_MENU && !has_item(control, value, &name)) return fail(EINVAL);
        if (value < control->least) value = control->least;
        if (value > control->greatest) value = control->greatest;
        if (control->step > 1) value -= (value - control->least) % control->step;
        control->value = value;
        char line[64];
        snprintf(line, sizeof line, "%x %lld\n", control->id, (long long)value);
        camera_log(file->camera, "set", line);
    }
    return 0;
}

static int answer(struct file *file, unsigned long request, void *argument) {
    if (is_gone(file)) return fail(ENODEV);
    if (request == VIDIOC_QUERYCAP) return capability(file, argument);
    if (file->is_metadata) return fail(request == VIDIOC_ENUM_FMT ? EINVAL : ENOTTY);
    advance(file);
    switch (request) {
        case VIDIOC_ENUM_FMT: return list_formats(file, argument);
        case VIDIOC_ENUM_FRAMESIZES: return list_sizes(file, argument);
        case VIDIOC_ENUM_FRAMEINTERVALS: return list_intervals(file, argument);
        case VIDIOC_G_FMT: return show_format(file, argument), 0;
        case VIDIOC_S_FMT: return set_format(file, argument);
        case VIDIOC_G_PARM: return show_rate(file, argument), 0;
        case VIDIOC_S_PARM: return set_rate(file, argument);
        case VIDIOC_REQBUFS: return request_buffers(file, argument);
        case VIDIOC_QUERYBUF: return query_buffer(file, argument);
        case VIDIOC_QBUF: return queue(file, argument);
        case VIDIOC_DQBUF: return dequeue(file, argument);
        case VIDIOC_STREAMON: return stream(file, true);
        case VIDIOC_STREAMOFF: return stream(file, false);
        case VIDIOC_QUERY_EXT_CTRL: return query_control(file, argument);
        case VIDIOC_QUERYMENU: return query_menu(file, argument);
        case VIDIOC_G_EXT_CTRLS: return controls(file, argument, false);
        case VIDIOC_S_EXT_CTRLS: return controls(file, argument, true);
        default: return fail(ENOTTY);
    }
}

// ---- the interposed functions ----

EXPORT int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    return open_path(AT_FDCWD, path, flags, mode);
}
EXPORT int open64(const char *path, int flags, ...) __attribute__((alias("open")));

EXPORT int openat(int folder, const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    unsigned mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, unsigned) : 0;
    va_end(rest);
    return open_path(folder, path, flags, mode);
}
EXPORT int openat64(int folder, const char *path, int flags, ...) __attribute__((alias("openat")));

EXPORT int close(int fd) {
    ready();
    struct file *file = NULL;
    if (fd >= 0 && fd < FILES) {
        pthread_mutex_lock(&table);
        file = files[fd];
        files[fd] = NULL;
        pthread_mutex_unlock(&table);
    }
    if (file) release(file);
    return real_close(fd);
}

EXPORT int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *argument = va_arg(rest, void *);
    va_end(rest);
    ready();
    struct file *file = use(fd);
    if (!file) return real_ioctl(fd, request, argument);
    pthread_mutex_lock(&file->camera->lock);
    int result = answer(file, request, argument);
    int number = errno;
    pthread_mutex_unlock(&file->camera->lock);
    release(file);
    errno = number;
    return result;
}

// Crate v4l asks the kernel this way.
EXPORT long syscall(long number, ...) {
    va_list rest;
    va_start(rest, number);
    long a = va_arg(rest, long), b = va_arg(rest, long), c = va_arg(rest, long);
    long d = va_arg(rest, long), e = va_arg(rest, long), f = va_arg(rest, long);
    va_end(rest);
    ready();
    if (number == SYS_ioctl) return ioctl((int)a, (unsigned long)b, (void *)c);
    return real_syscall(number, a, b, c, d, e, f);
}

EXPORT void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    ready();
    struct file *file = use(fd);
    if (!file) return real_mmap(address, length, protection, flags, fd, offset);
    pthread_mutex_lock(&file->camera->lock);
    void *map = MAP_FAILED;
    if (file->memory >= 0 && length <= file->stride)
        map = real_mmap(address, length, protection, flags, file->memory, offset);
    else
        errno = EINVAL;
    pthread_mutex_unlock(&file->camera->lock);
    release(file);
    return map;
}
EXPORT void *mmap64(void *, size_t, int, int, int, off_t) __attribute__((alias("mmap")));

EXPORT int poll(struct pollfd *asked, nfds_t count, int timeout) {
    ready();
    struct file *file = count == 1 ? use(asked[0].fd) : NULL;
    if (!file) return real_poll(asked, count, timeout);
    int64_t until = now_ns() + timeout * 1000000LL;
    asked[0].revents = 0;
    for (;;) {
        pthread_mutex_lock(&file->camera->lock);
        advance(file);
        if (is_gone(file) || !file->streams)
            asked[0].revents = POLLERR | (is_gone(file) ? POLLHUP : 0);
        else if (file->done_length > 0)
            asked[0].revents = POLLIN | POLLRDNORM;
        pthread_mutex_unlock(&file->camera->lock);
        int64_t left = until - now_ns();
        if (asked[0].revents || (timeout >= 0 && left <= 0)) break;
        struct timespec nap = {.tv_nsec = timeout >= 0 && left < 2000000 ? left : 2000000};
        nanosleep(&nap, NULL);
    }
    release(file);
    return asked[0].revents != 0;
}

EXPORT ssize_t readlink(const char *path, char *target, size_t length) {
    char room[TEXT];
    ready();
    ssize_t got = real_readlink(real_path(path, room), target, length);
    return got > 0 ? (ssize_t)shorten(target, (size_t)got) : got;
}

EXPORT char *realpath(const char *path, char *target) {
    char room[TEXT];
    ready();
    char *found = real_realpath(real_path(path, room), target);
    if (found) found[shorten(found, strlen(found))] = 0;
    return found;
}

EXPORT DIR *opendir(const char *path) {
    char room[TEXT];
    ready();
    return real_opendir(real_path(path, room));
}

EXPORT int statx(int folder, const char *path, int flags, unsigned mask, struct statx *about) {
    char room[TEXT];
    ready();
    return real_statx(folder, real_path(path, room), flags, mask, about);
}
