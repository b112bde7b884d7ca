/* GGUF files written in memory: what is right reads back, what is wrong is refused with a reason. SPDX-License-Identifier: MIT */
#include "io/gguf.h"

#include "tests/check.h"
#include "tests/io/gguf_bytes.h"

static struct gguf file;
static struct error err;

static int open_bytes(const struct gguf_bytes *b)
{
    err.text[0] = '\0';
    return gguf_open_memory(&file, b->data, b->n, &err);
}

static void check_refused(struct gguf_bytes *b, const char *part_of_message)
{
    int rc = open_bytes(b);
    CHECK_THAT(rc == -1 && strstr(err.text, part_of_message), "gave %d, \"%s\", expected \"...%s...\"", rc, err.text,
               part_of_message);
    CHECK_THAT(!strchr(err.text, '\n'), "more than one line: %s", err.text);
    CHECK_THAT(!file.parts && !file.values && !file.n_tensors, "a failed open left %p %p", (void *)file.parts,
               (void *)file.values);
    gguf_close(&file);
    gguf_bytes_free(b);
}

static void check_i64(const char *key, int64_t expected)
{
    int64_t found = 0;
    int rc = gguf_get_i64(&file, key, INT64_MIN, INT64_MAX, 0, &found, &err);
    CHECK_THAT(rc == 0 && found == expected, "%s gave %d, %lld, expected %lld", key, rc, (long long)found, (long long)expected);
}

static void check_f64(const char *key, double expected)
{
    double found = 0.0;
    int rc = gguf_get_f64(&file, key, 0.0, &found, &err);
    CHECK_THAT(rc == 0 && found == expected, "%s gave %d, %g, expected %g", key, rc, found, expected);
}

static void check_values(void)
{
    check_i64("v.u8", 200), check_i64("v.i8", -100), check_i64("v.u16", 60000), check_i64("v.i16", -30000);
    check_i64("v.u32", 4000000000), check_i64("v.i32", -2000000000), check_i64("v.i64", INT64_MIN), check_i64("v.bool", 1);
    check_f64("v.f32", 1.5), check_f64("v.f64", -0.1), check_f64("v.i8", -100.0), check_f64("v.u64", 0x1p64);
    struct gguf_string s;
    CHECK_INT(gguf_get_string(&file, "v.string", &s, &err), 0);
    CHECK_THAT(gguf_string_is(s, "gr\xc3\xbc\xc3\x9f"), "%.*s", (int)s.length, s.data);
    CHECK_THAT(!gguf_string_is(s, "gr"), "%.*s", (int)s.length, s.data);
    CHECK_INT(gguf_get_string(&file, "absent", &s, &err), 0);
    CHECK_THAT(!s.data && gguf_string_is(s, ""), "absent string has length %zu", s.length);

    int64_t i = 0;
    int flag = 0;
    double x;
    CHECK_INT(gguf_get_i64(&file, "absent", 0, 9, 42, &i, &err), 0);
    CHECK_INT(i, 42);
    CHECK_INT(gguf_get_bool(&file, "absent", 1, &flag, &err), 0);
    CHECK_INT(flag, 1);
    CHECK_INT(gguf_require_i64(&file, "absent", 0, 9, &i, &err), -1);
    CHECK_TEXT(err.text, "(memory): key absent is missing");
    CHECK_INT(gguf_require_i64(&file, "v.u8", 0, 199, &i, &err), -1);
    CHECK_TEXT(err.text, "(memory): key v.u8 is 200, expected 0 to 199");
    CHECK_INT(gguf_get_i64(&file, "v.u64", 0, INT64_MAX, 0, &i, &err), -1);
    CHECK_INT(gguf_get_i64(&file, "v.f32", 0, 9, 0, &i, &err), -1);
    CHECK_INT(gguf_get_i64(&file, "v.string", 0, 9, 0, &i, &err), -1);
    CHECK_TEXT(err.text, "(memory): key v.string is of kind string, expected an integer");
    CHECK_INT(gguf_get_f64(&file, "a.f32", 0.0, &x, &err), -1);
    CHECK_INT(gguf_get_bool(&file, "v.u8", 0, &flag, &err), -1);
    CHECK_INT(gguf_get_string(&file, "v.u8", &s, &err), -1);
}

static void check_arrays(void)
{
    const struct gguf_value *v = gguf_find(&file, "a.string");
    CHECK_THAT(v && v->count == 3 && v->element == GGUF_STRING && gguf_string_is(v->strings[2], "three") &&
                   v->strings[1].length == 0,
               "a.string at %p", (const void *)v);
    v = gguf_find(&file, "a.i16");
    CHECK_THAT(v && v->count == 3 && gguf_element_i64(v, 1) == -2 && gguf_element_f64(v, 2) == 3.0, "a.i16 at %p",
               (const void *)v);
    v = gguf_find(&file, "a.f32");
    CHECK_THAT(v && v->count == 2 && gguf_element_f64(v, 1) == -8.0, "a.f32 at %p", (const void *)v);
    v = gguf_find(&file, "a.u64");
    CHECK_THAT(v && v->count == 2 && gguf_element_i64(v, 1) == (int64_t)1 << 40, "a.u64 at %p", (const void *)v);
    v = gguf_find(&file, "a.none");
    CHECK_THAT(v && v->count == 0, "a.none at %p", (const void *)v);
}

static void test_sample(uint32_t version)
{
    struct gguf_bytes b = {0};
    gguf_bytes_sample(&b, version);
    CHECK_THAT(open_bytes(&b) == 0, "%s", err.text);
    CHECK_INT(file.version, version);
    CHECK_INT(file.n_tensors, 4);
    CHECK_INT(file.has_data, 1);
    CHECK_INT(file.parts[0].bytes - file.parts[0].header_bytes, 288);
    check_values();
    check_arrays();
    const struct gguf_tensor *t = gguf_find_tensor(&file, "b.weight");
    struct tensor view;
    CHECK_THAT(t && t->bytes == 40 && t->n_dims == 4 && t->data == b.data + file.parts[0].header_bytes + 32, "b.weight at %p",
               (const void *)t);
    CHECK_INT(gguf_tensor_view(t, &view, &err), 0);
    CHECK_INT(view.rows, 4);
    CHECK_INT(view.cols, 5);
    CHECK_INT(view.row_bytes, 10);
    CHECK_INT(gguf_tensor_view(gguf_find_tensor(&file, "d.ids"), &view, &err), -1);
    CHECK_TEXT(err.text, "tensor d.ids is of type I32, which this program cannot compute with");
    CHECK_THAT(!gguf_find_tensor(&file, "absent"), "absent tensor found in version %u", version);
    gguf_close(&file);
    gguf_bytes_free(&b);
}

static void test_bad_headers(void)
{
    struct gguf_bytes b = {0};
    check_refused(&b, "no GGUF file");
    gguf_bytes_put(&b,
                   "\x7f"
                   "ELF0000000000000000000000000000",
                   30);
    check_refused(&b, "begins with \"\\x7fELF\"");
    gguf_bytes_put(&b, "GGUF", 4);
    check_refused(&b, "has 4 bytes, expected at least 24");
    gguf_bytes_begin(&b, 1, 0, 0);
    check_refused(&b, "version 1, expected 2 or 3");
    gguf_bytes_begin(&b, 4, 0, 0);
    check_refused(&b, "version 4, expected 2 or 3");
    gguf_bytes_begin(&b, 0x03000000, 0, 0);
    check_refused(&b, "big-endian");
    gguf_bytes_begin(&b, 3, UINT64_MAX, 0);
    check_refused(&b, "more than its 24 bytes can hold");
    gguf_bytes_begin(&b, 3, 0, (uint64_t)1 << 60);
    check_refused(&b, "more than its 24 bytes can hold");
}

static void test_bad_values(void)
{
    struct gguf_bytes b = {0};
    gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_u64(&b, UINT64_MAX - 3), gguf_bytes_put(&b, "abcdefgh", 8);
    check_refused(&b, "metadata pair 1 of 1 wants 18446744073709551612 more bytes");
    gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_key(&b, "k\n\x01", 13), gguf_bytes_u64(&b, 0);
    check_refused(&b, "key k\\x0a\\x01 has value kind 13, expected 0 to 12");
    gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_array(&b, "k", GGUF_ARRAY, 0);
    check_refused(&b, "arrays of arrays");
    gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_array(&b, "k", 99, 0);
    check_refused(&b, "array of kind 99");
    gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_array(&b, "k", GGUF_U64, ((uint64_t)1 << 61) + 1), gguf_bytes_u64(&b, 0);
    check_refused(&b, "has 2305843009213693953 elements of kind u64");
    gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_array(&b, "k", GGUF_STRING, 3), gguf_bytes_string(&b, "eight...");
    check_refused(&b, "has 3 elements of kind string");
    gguf_bytes_begin(&b, 3, 0, 2), gguf_bytes_key_u32(&b, "k", 1), gguf_bytes_key_u32(&b, "k", 1);
    check_refused(&b, "key k appears twice");
    const uint32_t alignments[] = {0, 3, 33};
    for (int i = 0; i < 3; i++) {
        gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_key_u32(&b, "general.alignment", alignments[i]);
        check_refused(&b, "expected a power of two");
    }
    gguf_bytes_begin(&b, 3, 0, 1), gguf_bytes_key_string(&b, "general.alignment", "32");
    check_refused(&b, "is of kind string, expected u32");
}

/* A file with one or two tensors; `second` NULL: one. 64 bytes of data. */
struct tensor_case {
    const char *name;
    uint64_t dims[5];
    uint32_t type;
    uint64_t offset;
    const char *second; /* F32 [1], at offset 32 */
    const char *message;
};

static void test_bad_tensors(void)
{
    static const struct tensor_case cases[] = {
        {"t", {0}, DTYPE_F32, 0, NULL, "tensor t has 0 dimensions"},
        {"t", {1, 1, 1, 1, 1}, DTYPE_F32, 0, NULL, "tensor t has 5 dimensions, expected 1 to 4"},
        {"t", {UINT64_MAX}, DTYPE_F32, 0, NULL, "dimension 0 of 18446744073709551615"},
        {"t", {4, (uint64_t)1 << 62}, DTYPE_F32, 0, NULL, "fewer than 2^63 elements"},
        {"t", {(uint64_t)1 << 62}, DTYPE_F32, 0, NULL, "too large"},
        {"t", {4}, 4, 0, NULL, "type number 4, which is none"},
        {"t", {4}, 1000, 0, NULL, "type number 1000, which is none"},
        {"t", {33}, DTYPE_Q8_0, 0, NULL, "rows of 33 elements, expected a multiple of 32 (the block of Q8_0)"},
        {"t", {4}, DTYPE_F32, 4, NULL, "begins at offset 4, expected a multiple of 32"},
        {"t", {4}, DTYPE_F32, 32, NULL, "begins at offset 32, expected 0"},
        {"t", {16}, DTYPE_F32, 0, "u", "tensor u begins at offset 32, expected 64"},
        {"t", {32}, DTYPE_F32, 0, NULL, "holds 64 bytes of tensor data, expected 128"},
        {"t", {4}, DTYPE_F32, 0, "t", "tensor t appears twice"},
        {"a name of sixty-four bytes is one byte longer than a name may be",
         {4},
         DTYPE_F32,
         0,
         NULL,
         "has 64 bytes, expected at most 63"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct tensor_case *c = &cases[i];
        struct gguf_bytes b = {0};
        gguf_bytes_begin(&b, 3, c->second ? 2 : 1, 0);
        gguf_bytes_tensor(&b, c->name, c->dims, c->type, c->offset);
        if (c->second) {
            gguf_bytes_tensor(&b, c->second, (uint64_t[5]){1}, DTYPE_F32, 32);
        }
        gguf_bytes_pad(&b, 32);
        gguf_bytes_put(&b, (uint8_t[64]){1}, 64);
        check_refused(&b, c->message);
    }
    struct gguf_bytes b = {0};
    gguf_bytes_begin(&b, 3, 1, 0), gguf_bytes_u64(&b, 2), gguf_bytes_put(&b, "t\0", 2), gguf_bytes_put(&b, (uint8_t[40]){0}, 40);
    check_refused(&b, "tensor name t\\x00 holds a zero byte");
}

/* Tensors whose bytes wrap around when added up without care. */
static void test_sum_overflow(void)
{
    struct gguf_bytes b = {0};
    uint64_t half = (uint64_t)1 << 58;
    gguf_bytes_begin(&b, 3, 40, 0);
    for (uint64_t i = 0; i < 40; i++) {
        char name[8];
        snprintf(name, sizeof name, "t%d", (int)i);
        gguf_bytes_tensor(&b, name, (uint64_t[5]){half}, DTYPE_F32, i * half * 4);
    }
    check_refused(&b, "beyond what any machine can hold");
}

static void test_misaligned_data(void)
{
    struct gguf_bytes b = {0};
    struct tensor view;
    gguf_bytes_begin(&b, 3, 2, 1);
    gguf_bytes_key_u32(&b, "general.alignment", 1);
    gguf_bytes_tensor(&b, "i8", (uint64_t[5]){1}, 24, 0);
    gguf_bytes_tensor(&b, "t", (uint64_t[5]){1}, DTYPE_F32, 1);
    gguf_bytes_put(&b, (uint8_t[5]){0}, 5);
    /* A mapped file begins on a page; memory from malloc is aligned to 16: offsets decide. */
    CHECK_THAT(open_bytes(&b) == 0, "%s", err.text);
    const struct gguf_tensor *t = gguf_find_tensor(&file, "t");
    CHECK_INT(gguf_tensor_view(t, &view, &err), t->offset % 4 ? -1 : 0);
    CHECK_THAT(t->offset % 4, "offset %llu is aligned by chance: the test tests nothing", (unsigned long long)t->offset);
    gguf_close(&file);
    gguf_bytes_free(&b);
}

/* Cut anywhere: refused, or (cut within the padding before the data) the directory without data. The copy is as long as the cut
 * file, so that a sanitizer sees a read beyond it. */
static void test_truncations(void)
{
    struct gguf_bytes b = {0};
    gguf_bytes_sample(&b, 3);
    CHECK_INT(open_bytes(&b), 0);
    size_t header = file.parts[0].header_bytes;
    gguf_close(&file);
    for (size_t n = 0; n < b.n; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, b.data, n);
        int rc = gguf_open_memory(&file, copy, n, &err);
        if (rc == 0) {
            CHECK_THAT(n <= header && n + 32 > header, "opened when cut to %zu bytes, header %zu", n, header);
            CHECK_INT(file.has_data, 0);
            CHECK_INT(file.n_tensors, 4);
            check_values();
            check_arrays();
            struct tensor view;
            CHECK_INT(gguf_tensor_view(&file.tensors[0], &view, &err), -1);
            CHECK_THAT(strstr(err.text, "tensor a.weight has no data"), "%s", err.text);
        }
        gguf_close(&file);
        free(copy);
    }
    gguf_bytes_free(&b);
}

/* Random bytes changed: never a crash, and whatever opens can be read whole. */
static void test_flips(void)
{
    struct gguf_bytes b = {0};
    gguf_bytes_sample(&b, 3);
    uint8_t *copy = malloc(b.n);
    uint32_t random = 1;
    int n_opened = 0;
    for (int seed = 0; seed < 20000; seed++) {
        memcpy(copy, b.data, b.n);
        for (int i = 0; i <= seed % 3; i++) {
            random = random * 1664525u + 1013904223u;
            copy[(random >> 8) % (b.n - 288 + 8)] ^= (uint8_t)(1u << (random >> 29));
        }
        if (gguf_open_memory(&file, copy, b.n, &err) == 0) {
            n_opened++;
            gguf_visit(&file);
            gguf_close(&file);
        }
    }
    CHECK_THAT(n_opened > 1000 && n_opened < 19000, "%d of 20000 changed files opened", n_opened);
    free(copy);
    gguf_bytes_free(&b);
}

/* Each byte of the header and the length count, those of the data do not. */
static void test_hash(void)
{
    struct gguf_bytes b = {0};
    gguf_bytes_sample(&b, 3);
    CHECK_INT(open_bytes(&b), 0);
    uint64_t hash = gguf_header_hash(&file);
    uint64_t all = gguf_visit(&file);
    b.data[b.n - 1] ^= 1;
    CHECK_THAT(gguf_header_hash(&file) == hash, "changed with the padding");
    b.data[file.parts[0].header_bytes] ^= 1;
    CHECK_THAT(gguf_header_hash(&file) == hash && gguf_visit(&file) != all, "changed with the data");
    for (size_t i = 0; i < file.parts[0].header_bytes; i++) {
        b.data[i] ^= 1;
        CHECK_THAT(gguf_header_hash(&file) != hash, "the same when byte %zu changed", i);
        b.data[i] ^= 1;
    }
    file.parts[0].bytes++;
    CHECK_THAT(gguf_header_hash(&file) != hash, "the same for another length, %llx", (unsigned long long)hash);
    gguf_close(&file);
    gguf_bytes_free(&b);
}

int main(void)
{
    test_sample(2);
    test_sample(3);
    test_bad_headers();
    test_bad_values();
    test_bad_tensors();
    test_sum_overflow();
    test_misaligned_data();
    test_truncations();
    test_flips();
    test_hash();
    return check_result();
}
