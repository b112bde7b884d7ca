/* SPDX-License-Identifier: MIT */
#include "io/gguf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/gguf_names.h"
#include "io/gguf_parse.h"

struct gguf_index {
    struct gguf_names keys;    /* into values */
    struct gguf_names tensors; /* into tensors */
};

/* The end of a split file's name: "-00002-of-00003.gguf". */
enum { SPLIT_DIGITS = 5, SPLIT_SUFFIX = 1 + SPLIT_DIGITS + 4 + SPLIT_DIGITS + 5 };

static struct gguf_string string_of(const char *text)
{
    return (struct gguf_string){.data = text, .length = strlen(text)};
}

/* -1 when the text is not five digits. */
static int32_t five_digits(const char *text)
{
    int32_t number = 0;
    for (int i = 0; i < SPLIT_DIGITS; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return -1;
        }
        number = number * 10 + (text[i] - '0');
    }
    return number;
}

/* 1 when the path has the form of part *part (0-based) of *n_parts, else 0. */
static int split_name(const char *path, int32_t *part, int32_t *n_parts)
{
    size_t length = strlen(path);
    if (length < SPLIT_SUFFIX) {
        return 0;
    }
    const char *end = path + length - SPLIT_SUFFIX;
    int32_t number = five_digits(end + 1), count = five_digits(end + 1 + SPLIT_DIGITS + 4);
    if (end[0] != '-' || memcmp(end + 1 + SPLIT_DIGITS, "-of-", 4) != 0 || strcmp(end + SPLIT_SUFFIX - 5, ".gguf") != 0 ||
        number < 1 || count < number) {
        return 0;
    }
    *part = number - 1;
    *n_parts = count;
    return 1;
}

/* The path of a part, from that of any other; NULL when out of memory. */
static char *split_path(const char *path, int32_t part, int32_t n_parts)
{
    size_t base = strlen(path) - SPLIT_SUFFIX;
    size_t room = base + SPLIT_SUFFIX + 32;
    char *out = malloc(room);
    if (out) {
        memcpy(out, path, base);
        snprintf(out + base, room - base, "-%05" PRId32 "-of-%05" PRId32 ".gguf", part + 1, n_parts);
    }
    return out;
}

static int map_descriptor(struct gguf_part *part, int fd, struct error *err)
{
    struct stat st;
    if (fstat(fd, &st)) {
        return error_set(err, "cannot be examined: %s", strerror(errno));
    }
    if (!S_ISREG(st.st_mode)) {
        return error_set(err, "is no regular file, expected a GGUF file");
    }
    if (st.st_size == 0) {
        return error_set(err, "is empty, expected a GGUF file");
    }
    if ((uintmax_t)st.st_size > (uintmax_t)PTRDIFF_MAX) {
        return error_set(err, "has %jd bytes, more than can be mapped on this machine", (intmax_t)st.st_size);
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED) {
        return error_set(err, "cannot be mapped (%jd bytes): %s", (intmax_t)st.st_size, strerror(errno));
    }
    part->map = map;
    part->bytes = (size_t)st.st_size;
    return 0;
}

static int map_part(struct gguf_part *part, struct error *err)
{
    int fd = open(part->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* non-blocking: a pipe without a writer would hang here */
    if (fd < 0) {
        return error_set(err, "cannot be opened: %s", strerror(errno));
    }
    int rc = map_descriptor(part, fd, err);
    close(fd);
    return rc;
}

/* Values that the parts of a split file must agree on. An absent key gives -1. */
static int split_key(const struct gguf_content *content, const char *key, int64_t *out, struct error *err)
{
    uint64_t place;
    *out = -1;
    if (!gguf_names_find(&content->keys, string_of(key), &place)) {
        return 0;
    }
    const struct gguf_value *v = &content->values[place];
    if (!gguf_kind_is_integer(v->kind)) {
        return error_set(err, "%s is of kind %s, expected an integer", key, gguf_kind_name(v->kind));
    }
    *out = gguf_element_i64(v, 0);
    return 0;
}

static int check_split(const struct gguf_content *content, int32_t part, int32_t n_parts, struct error *err)
{
    int64_t number, count;
    if (split_key(content, "split.no", &number, err) || split_key(content, "split.count", &count, err)) {
        return -1;
    }
    if (n_parts == 1) {
        if (count > 1) {
            return error_set(err,
                             "is part %" PRId64 " of %" PRId64
                             " (split.no, split.count), expected a name that ends in -%05" PRId64 "-of-%05" PRId64
                             ".gguf beside the other parts",
                             number + 1, count, number + 1, count);
        }
        return 0;
    }
    if (count != n_parts || number != part) {
        char found[96] = "has no split.count and split.no";
        if (count >= 0 || number >= 0) {
            snprintf(found, sizeof found, "has split.no %" PRId64 " and split.count %" PRId64, number, count);
        }
        return error_set(err, "%s, expected %" PRId32 " and %" PRId32 " as its name says", found, part, n_parts);
    }
    return 0;
}

/* Takes over the content of part number i: all of the first, the tensors of the others. */
static int merge(struct gguf *file, int32_t i, struct gguf_content *content, struct error *err)
{
    file->parts[i].header_bytes = content->header_bytes;
    file->has_data = (i == 0 || file->has_data) && content->has_data;
    for (uint64_t k = 0; k < content->n_tensors; k++) {
        content->tensors[k].file = i;
    }
    if (i == 0) {
        file->version = content->version;
        file->n_values = content->n_values;
        file->values = content->values;
        file->index->keys = content->keys;
        file->n_tensors = content->n_tensors;
        file->tensors = content->tensors;
        *content = (struct gguf_content){0};
        return 0;
    }
    if (content->n_tensors) {
        uint64_t n = file->n_tensors + content->n_tensors;
        struct gguf_tensor *all = n > SIZE_MAX / sizeof *all ? NULL : realloc(file->tensors, (size_t)n * sizeof *all);
        if (!all) {
            return error_set(err, "out of memory for %" PRIu64 " tensors", n);
        }
        memcpy(all + file->n_tensors, content->tensors, (size_t)content->n_tensors * sizeof *all);
        file->tensors = all;
        file->n_tensors = n;
    }
    return 0;
}

static int parse_part(struct gguf *file, int32_t i, struct error *err)
{
    const struct gguf_part *part = &file->parts[i];
    struct gguf_content content;
    if (gguf_parse(&content, part->map, part->bytes, err)) {
        return -1;
    }
    int rc = check_split(&content, i, file->n_parts, err) || merge(file, i, &content, err) ? -1 : 0;
    gguf_content_free(&content);
    return rc;
}

/* Names of tensors are unique over all parts. */
static int index_tensors(struct gguf *file, struct error *err)
{
    if (gguf_names_init(&file->index->tensors, file->n_tensors)) {
        return error_set(err, "%s: out of memory for the names of %" PRIu64 " tensors", file->parts[0].path, file->n_tensors);
    }
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        const struct gguf_tensor *t = &file->tensors[i];
        if (gguf_names_add(&file->index->tensors, string_of(t->name), i)) {
            char name[GGUF_SHOWN_BYTES];
            return error_set(err, "%s: tensor %s appears twice", file->parts[t->file].path, gguf_shown(name, string_of(t->name)));
        }
    }
    return 0;
}

static int check_tensor_count(const struct gguf *file, struct error *err)
{
    int64_t n;
    if (gguf_get_i64(file, "split.tensors.count", 0, INT64_MAX, (int64_t)file->n_tensors, &n, err)) {
        return -1;
    }
    if (file->n_parts > 1 && (uint64_t)n != file->n_tensors) {
        return error_set(err, "%s: the %" PRId32 " parts hold %" PRIu64 " tensors, expected %" PRId64 " (split.tensors.count)",
                         file->parts[0].path, file->n_parts, file->n_tensors, n);
    }
    return 0;
}

static int allocate(struct gguf *file, int32_t n_parts, const char *path, struct error *err)
{
    *file = (struct gguf){0};
    file->parts = calloc((size_t)n_parts, sizeof *file->parts);
    file->index = calloc(1, sizeof *file->index);
    if (!file->parts || !file->index) {
        return error_set(err, "%s: out of memory", path);
    }
    file->n_parts = n_parts;
    return 0;
}

static int open_parts(struct gguf *file, const char *path, struct error *err)
{
    int32_t named = 0, n_parts = 1;
    int split = split_name(path, &named, &n_parts);
    if (allocate(file, n_parts, path, err)) {
        return -1;
    }
    for (int32_t i = 0; i < n_parts; i++) {
        struct gguf_part *part = &file->parts[i];
        part->path = split ? split_path(path, i, n_parts) : strdup(path);
        if (!part->path) {
            return error_set(err, "%s: out of memory", path);
        }
        if (map_part(part, err) || parse_part(file, i, err)) {
            if (!part->map && n_parts > 1) {
                error_prefix(err, "part %" PRId32 " of %" PRId32, i + 1, n_parts);
            }
            return error_prefix(err, "%s", part->path);
        }
    }
    return index_tensors(file, err) || check_tensor_count(file, err) ? -1 : 0;
}

int gguf_open(struct gguf *file, const char *path, struct error *err)
{
    if (open_parts(file, path, err)) {
        gguf_close(file);
        return -1;
    }
    return 0;
}

static int open_bytes(struct gguf *file, const void *bytes, size_t n_bytes, struct error *err)
{
    static const char path[] = "(memory)";
    if (allocate(file, 1, path, err)) {
        return -1;
    }
    file->parts[0].path = strdup(path);
    if (!file->parts[0].path) {
        return error_set(err, "%s: out of memory", path);
    }
    file->parts[0].map = bytes;
    file->parts[0].bytes = n_bytes;
    file->borrowed = 1;
    return parse_part(file, 0, err) ? error_prefix(err, "%s", path) : index_tensors(file, err);
}

int gguf_open_memory(struct gguf *file, const void *bytes, size_t n_bytes, struct error *err)
{
    if (open_bytes(file, bytes, n_bytes, err)) {
        gguf_close(file);
        return -1;
    }
    return 0;
}

void gguf_close(struct gguf *file)
{
    for (uint64_t i = 0; i < file->n_values; i++) {
        free(file->values[i].strings);
    }
    for (int32_t i = 0; i < file->n_parts; i++) {
        if (file->parts[i].map && !file->borrowed) {
            munmap((void *)(uintptr_t)file->parts[i].map, file->parts[i].bytes);
        }
        free(file->parts[i].path);
    }
    if (file->index) {
        gguf_names_free(&file->index->keys);
        gguf_names_free(&file->index->tensors);
    }
    free(file->index);
    free(file->values);
    free(file->tensors);
    free(file->parts);
    *file = (struct gguf){0};
}

const struct gguf_value *gguf_find(const struct gguf *file, const char *key)
{
    uint64_t place;
    return file->index && gguf_names_find(&file->index->keys, string_of(key), &place) ? &file->values[place] : NULL;
}

const struct gguf_tensor *gguf_find_tensor(const struct gguf *file, const char *name)
{
    uint64_t place;
    return file->index && gguf_names_find(&file->index->tensors, string_of(name), &place) ? &file->tensors[place] : NULL;
}

int gguf_tensor_shape(const struct gguf_tensor *t, struct tensor *out, struct error *err)
{
    const struct dtype_info *info = dtype_info(t->type);
    if (!info || !info->known) {
        return error_set(err, "tensor %s is of type %s, which this program cannot compute with", t->name,
                         info ? info->name : "unknown");
    }
    *out = (struct tensor){.dtype = (enum dtype)t->type, .rows = t->dims[1] * t->dims[2] * t->dims[3], .cols = t->dims[0]};
    out->row_bytes = dtype_row_bytes(out->dtype, out->cols);
    return 0;
}

int gguf_tensor_view(const struct gguf_tensor *t, struct tensor *out, struct error *err)
{
    struct tensor view;
    if (gguf_tensor_shape(t, &view, err)) {
        return -1;
    }
    if (!t->data) {
        return error_set(err, "tensor %s has no data: the file ends where it would begin (cut off, or made for planning only)",
                         t->name);
    }
    uintptr_t unit = t->type == DTYPE_F32 ? 4 : 2;
    if ((uintptr_t)t->data % unit) {
        return error_set(err, "tensor %s of type %s begins at byte %" PRIu64 " of its file, expected a multiple of %d", t->name,
                         dtype_info(t->type)->name, t->offset, (int)unit);
    }
    *out = view;
    out->data = t->data;
    return 0;
}

/* One to one in each of its arguments, so that files that differ in one word never collide. */
static uint64_t mix(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return h ^ (h >> 29);
}

static uint64_t hash_bytes(uint64_t h, const uint8_t *bytes, size_t n)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        h = mix(h, gguf_load_u64(bytes + i));
    }
    uint64_t tail = 0;
    for (; i < n; i++) {
        tail = tail << 8 | bytes[i];
    }
    return mix(mix(h, tail), n);
}

uint64_t gguf_header_hash(const struct gguf *file)
{
    uint64_t h = (uint64_t)(uint32_t)file->n_parts;
    for (int32_t i = 0; i < file->n_parts; i++) {
        h = hash_bytes(h, file->parts[i].map, file->parts[i].header_bytes);
        h = mix(h, file->parts[i].bytes);
    }
    return mix(h, 0);
}
