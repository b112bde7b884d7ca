/* SPDX-License-Identifier: MIT */
#include "src/commands/info/info_print.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "src/commands/info/info_json.h"
#include "src/commands/json_text.h"

enum { LINE_COLUMNS = 120, MIN_TEXT_COLUMNS = 40, TEXT_BYTES = 1024, NUMBER_BYTES = 32 };

/* A line of bounded width. */
struct line {
    char text[TEXT_BYTES];
    size_t n;
    int columns, max_columns;
};

/* Appends one character of UTF-8 (or an escape); 0 when the line is full. */
static int line_put(struct line *l, const char *bytes, size_t n, int columns)
{
    if (l->columns + columns > l->max_columns || l->n + n + 1 > sizeof l->text) {
        return 0;
    }
    memcpy(l->text + l->n, bytes, n);
    l->n += n;
    l->columns += columns;
    l->text[l->n] = '\0';
    return 1;
}

static int line_puts(struct line *l, const char *ascii)
{
    for (; *ascii; ascii++) {
        if (!line_put(l, ascii, 1, 1)) {
            return 0;
        }
    }
    return 1;
}

/* Bytes of the character at s (valid UTF-8), 1 when a terminal might obey it: DEL, the C1 controls, and marks that change the
 * direction or hide (U+200B-200F, U+2028-202E, U+2060-206F). */
static size_t character(const uint8_t *s, uint32_t *code, int *unsafe)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    *code = n == 1 ? s[0] : s[0] & (0x7fu >> n);
    for (size_t i = 1; i < n; i++) {
        *code = *code << 6 | (s[i] & 0x3f);
    }
    *unsafe = (*code >= 0x7f && *code < 0xa0) || (*code >= 0x200b && *code <= 0x200f) || (*code >= 0x2028 && *code <= 0x202e) ||
              (*code >= 0x2060 && *code <= 0x206f);
    return n;
}

/* Text of the file as a JSON string, with more escapes. 0 when it did not fit. */
static int line_text(struct line *l, const char *data, size_t n)
{
    json_t *text = json_text(data, n < TEXT_BYTES ? n : TEXT_BYTES);
    char *quoted = text ? json_dumps(text, JSON_ENCODE_ANY) : NULL;
    int fits = quoted != NULL;
    for (const char *p = quoted; fits && *p;) {
        uint32_t code;
        int unsafe;
        char escape[12];
        size_t bytes = character((const uint8_t *)p, &code, &unsafe);
        if (unsafe) {
            int length = snprintf(escape, sizeof escape, "\\u%04" PRIX32, code);
            fits = line_put(l, escape, (size_t)length, length);
        } else {
            fits = line_put(l, p, bytes, 1);
        }
        p += bytes;
    }
    free(quoted);
    json_decref(text);
    return fits && n <= TEXT_BYTES;
}

/* The shortest decimal that reads back as the same float. */
static void float_text(char out[NUMBER_BYTES], double x)
{
    int precision = 6;
    do {
        snprintf(out, NUMBER_BYTES, "%.*g", precision, x);
    } while (precision++ < 9 && strtof(out, NULL) != (float)x);
}

static int line_element(struct line *l, const struct gguf_value *v, uint64_t i)
{
    char number[NUMBER_BYTES];
    switch (v->element) {
    case GGUF_STRING: return line_text(l, v->strings[i].data, v->strings[i].length);
    case GGUF_BOOL: return line_puts(l, gguf_element_i64(v, i) ? "true" : "false");
    case GGUF_F32: float_text(number, gguf_element_f64(v, i)); break;
    case GGUF_F64: snprintf(number, sizeof number, "%.17g", gguf_element_f64(v, i)); break;
    case GGUF_U64:
        if (gguf_element_i64(v, i) == INT64_MAX) {
            snprintf(number, sizeof number, "%.17g", gguf_element_f64(v, i));
            break;
        }
        /* fall through */
    default: snprintf(number, sizeof number, "%" PRId64, gguf_element_i64(v, i));
    }
    return line_puts(l, number);
}

/* The value in what is left of the line, ended by dots where it does not fit. */
static void line_value(struct line *l, const struct gguf_value *v)
{
    int fits = 1;
    l->max_columns -= 4;
    if (v->kind == GGUF_ARRAY) {
        char head[64];
        snprintf(head, sizeof head, "[%" PRIu64 " x %s]", v->count, gguf_kind_name(v->element));
        fits = line_puts(l, head);
    }
    for (uint64_t i = 0; i < v->count && fits; i++) {
        const struct line whole = *l; /* an element of an array is shown whole or not at all, but for the first */
        fits = (v->kind != GGUF_ARRAY || line_puts(l, i ? ", " : " ")) && line_element(l, v, i);
        if (!fits && i > 0) {
            *l = whole;
            line_puts(l, ",");
        }
    }
    l->max_columns += 4;
    if (!fits) {
        line_puts(l, " ...");
    }
}

/* 1234567 as 1,234,567. */
static const char *grouped(char out[NUMBER_BYTES], uint64_t x)
{
    char digits[NUMBER_BYTES];
    int n = snprintf(digits, sizeof digits, "%" PRIu64, x), used = 0;
    for (int i = 0; i < n; i++) {
        if (i && (n - i) % 3 == 0) {
            out[used++] = ',';
        }
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}

/* 1234567 as 1.23 MB (powers of 1000, as for bandwidths). */
static const char *scaled(char out[NUMBER_BYTES], uint64_t bytes)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
    double x = (double)bytes;
    int unit = 0;
    while (x >= 999.5 && unit < 6) {
        x /= 1000;
        unit++;
    }
    snprintf(out, NUMBER_BYTES, unit && x < 9.995 ? "%.2f %s" : unit && x < 99.95 ? "%.1f %s" : "%.0f %s", x, units[unit]);
    return out;
}

static uint64_t n_elements(const struct gguf_tensor *t)
{
    return (uint64_t)(t->dims[0] * t->dims[1] * t->dims[2] * t->dims[3]);
}

int32_t info_totals(const struct gguf *file, struct info_total totals[DTYPE_COUNT])
{
    struct info_total by_type[DTYPE_COUNT] = {{0}};
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        const struct gguf_tensor *t = &file->tensors[i];
        struct info_total *total = &by_type[t->type];
        total->type = dtype_info(t->type)->name;
        total->n_tensors++;
        total->n_elements += n_elements(t);
        total->bytes += t->bytes;
    }
    int32_t n = 0;
    for (int i = 0; i < DTYPE_COUNT; i++) {
        if (by_type[i].type) {
            totals[n++] = by_type[i];
        }
    }
    return n;
}

static void print_head(FILE *out, const struct gguf *file)
{
    char size[NUMBER_BYTES], exact[NUMBER_BYTES];
    uint64_t bytes = 0;
    for (int32_t i = 0; i < file->n_parts; i++) {
        bytes += file->parts[i].bytes;
    }
    fprintf(out, "%s\n", file->parts[0].path);
    fprintf(out, "GGUF version %" PRIu32 ", %s (%s bytes)", file->version, scaled(size, bytes), grouped(exact, bytes));
    fprintf(out, ", %" PRId32 " %s%s\n", file->n_parts, file->n_parts == 1 ? "part" : "parts",
            file->has_data ? "" : ", without the tensors' data");
    for (int32_t i = 0; i < file->n_parts && file->n_parts > 1; i++) {
        fprintf(out, "  %8s  %s\n", scaled(size, file->parts[i].bytes), file->parts[i].path);
    }
}

static void print_metadata(FILE *out, const struct gguf *file)
{
    enum { MAX_KEY_COLUMNS = 48 };
    struct line key;
    int width = 0;
    fprintf(out, "\nMetadata (%" PRIu64 ")\n", file->n_values);
    for (uint64_t i = 0; i < file->n_values; i++) {
        size_t n = file->values[i].key.length;
        width = n > (size_t)width && n <= MAX_KEY_COLUMNS ? (int)n : width;
    }
    for (uint64_t i = 0; i < file->n_values; i++) {
        const struct gguf_value *v = &file->values[i];
        key = (struct line){.max_columns = LINE_COLUMNS - 2 - MIN_TEXT_COLUMNS};
        line_text(&key, v->key.data, v->key.length);
        /* Keys are identifiers: without the quotes, whose closing one is missing when the key was cut. */
        int n = (int)key.n - 1 - (key.n > 1 && key.text[key.n - 1] == '"');
        struct line value = {.max_columns = LINE_COLUMNS - 4 - (key.columns - 2 > width ? key.columns - 2 : width)};
        line_value(&value, v);
        fprintf(out, "  %.*s%*s  %s\n", n, key.text + 1, key.columns - 2 < width ? width - (key.columns - 2) : 0, "", value.text);
    }
}

static void print_tensors(FILE *out, const struct gguf *file)
{
    int width = 4;
    char bytes[NUMBER_BYTES], offset[NUMBER_BYTES];
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        int n = (int)strlen(file->tensors[i].name);
        width = n > width ? n : width;
    }
    fprintf(out, "\nTensors (%" PRIu64 "), row length first\n  %-*s  %-7s  %-20s  %15s  %s%17s\n", file->n_tensors, width, "name",
            "type", "shape", "bytes", file->n_parts > 1 ? " part" : "", "offset");
    for (uint64_t i = 0; i < file->n_tensors; i++) {
        const struct gguf_tensor *t = &file->tensors[i];
        struct line name = {.max_columns = LINE_COLUMNS};
        char shape[4 * (NUMBER_BYTES + 3)], part[NUMBER_BYTES] = "";
        int n = 0;
        line_text(&name, t->name, strlen(t->name));
        for (uint32_t d = 0; d < t->n_dims; d++) {
            n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%" PRId64, d ? " x " : "", t->dims[d]);
        }
        if (file->n_parts > 1) {
            snprintf(part, sizeof part, "%5" PRId32, t->file + 1);
        }
        int pad = width - (name.columns - 2);
        fprintf(out, "  %.*s%*s  %-7s  %-20s  %15s  %s%17s\n", (int)name.n - 2, name.text + 1, pad > 0 ? pad : 0, "",
                dtype_info(t->type)->name, shape, grouped(bytes, t->bytes), part, grouped(offset, t->offset));
    }
}

static void print_total(FILE *out, const struct info_total *t, uint64_t all_bytes)
{
    char elements[NUMBER_BYTES], bytes[NUMBER_BYTES];
    fprintf(out, "  %-8s %7" PRIu64 "  %19s  %9s  %5.1f %%  %6.2f\n", t->type, t->n_tensors, grouped(elements, t->n_elements),
            scaled(bytes, t->bytes), 100.0 * (double)t->bytes / (double)all_bytes,
            8.0 * (double)t->bytes / (double)t->n_elements);
}

static void print_totals(FILE *out, const struct gguf *file)
{
    struct info_total totals[DTYPE_COUNT], all = {.type = "all"};
    int32_t n = info_totals(file, totals);
    for (int32_t i = 0; i < n; i++) {
        all.n_tensors += totals[i].n_tensors;
        all.n_elements += totals[i].n_elements;
        all.bytes += totals[i].bytes;
    }
    if (n == 0) {
        fprintf(out, "\nNo tensors\n");
        return;
    }
    fprintf(out, "\nTotals\n  %-8s %7s  %19s  %9s  %7s  %6s\n", "type", "tensors", "elements", "bytes", "share", "bits");
    for (int32_t i = 0; i < n; i++) {
        print_total(out, &totals[i], all.bytes);
    }
    if (n > 1) {
        print_total(out, &all, all.bytes);
    }
}

int info_print(FILE *out, const struct gguf *file, int with_tensors, struct error *err)
{
    print_head(out, file);
    print_metadata(out, file);
    if (with_tensors) {
        print_tensors(out, file);
    }
    print_totals(out, file);
    return fflush(out) || ferror(out) ? error_set(err, "the description of %s cannot be written", file->parts[0].path) : 0;
}
