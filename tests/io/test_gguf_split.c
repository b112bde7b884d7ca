/* Split files: found whichever part is named, and every way of their not belonging together. SPDX-License-Identifier: MIT */
#include "io/gguf.h"

#include <sys/stat.h>
#include <unistd.h>

#include "tests/check.h"
#include "tests/io/gguf_bytes.h"

static char folder[] = "/tmp/test_gguf_split.XXXXXX";
static struct gguf file;
static struct error err;

/* What a part says of itself; count 0: nothing. */
struct part_case {
    int32_t number, count, n_tensors;
    const char *tensor;
};

static void write_file(const char *name, const void *data, size_t n)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "wb");
    CHECK_THAT(f && fwrite(data, 1, n, f) == n, "cannot write %s", path);
    if (f) {
        fclose(f);
    }
}

static void write_part(const char *name, struct part_case p)
{
    struct gguf_bytes b = {0};
    gguf_bytes_begin(&b, 3, 1, p.count ? 4 : 1);
    gguf_bytes_key_string(&b, "part.name", p.tensor);
    if (p.count) {
        gguf_bytes_key(&b, "split.no", GGUF_U16), gguf_bytes_u16(&b, (uint16_t)p.number);
        gguf_bytes_key(&b, "split.count", GGUF_U16), gguf_bytes_u16(&b, (uint16_t)p.count);
        gguf_bytes_key(&b, "split.tensors.count", GGUF_I32), gguf_bytes_u32(&b, (uint32_t)p.n_tensors);
    }
    gguf_bytes_tensor(&b, p.tensor, (uint64_t[5]){2}, DTYPE_F32, 0);
    gguf_bytes_pad(&b, 32);
    gguf_bytes_f32(&b, (float)p.number), gguf_bytes_f32(&b, 0.5f);
    gguf_bytes_pad(&b, 32);
    write_file(name, b.data, b.n);
    gguf_bytes_free(&b);
}

static int open_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    err.text[0] = '\0';
    return gguf_open(&file, path, &err);
}

static void remove_file(const char *name)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void check_refused(const char *name, const char *begin, const char *message)
{
    int rc = open_file(name);
    char path[256];
    snprintf(path, sizeof path, "%s/%s: ", folder, begin);
    CHECK_THAT(rc == -1 && strncmp(err.text, path, strlen(path)) == 0 && strstr(err.text, message),
               "gave %d, \"%s\", expected \"%s...%s\"", rc, err.text, path, message);
    CHECK_THAT(!file.parts, "a failed open left %p", (void *)file.parts);
    gguf_close(&file);
}

static const char *const names[3] = {"m-00001-of-00003.gguf", "m-00002-of-00003.gguf", "m-00003-of-00003.gguf"};

static void write_good(void)
{
    write_part(names[0], (struct part_case){0, 3, 3, "a"});
    write_part(names[1], (struct part_case){1, 3, 3, "b"});
    write_part(names[2], (struct part_case){2, 3, 3, "c"});
}

static void test_good(void)
{
    uint64_t hash = 0;
    for (int named = 0; named < 3; named++) {
        CHECK_THAT(open_file(names[named]) == 0, "%s", err.text);
        CHECK_INT(file.n_parts, 3);
        CHECK_INT(file.n_tensors, 3);
        const struct gguf_tensor *t = gguf_find_tensor(&file, "c");
        CHECK_THAT(t && t->file == 2, "c at %p", (const void *)t);
        if (t) {
            float x;
            memcpy(&x, t->data, sizeof x);
            CHECK_INT(x, 2);
            CHECK_THAT(t->data == file.parts[2].map + t->offset, "%p, offset %llu", (const void *)t->data,
                       (unsigned long long)t->offset);
        }
        struct gguf_string s;
        CHECK_INT(gguf_get_string(&file, "part.name", &s, &err), 0);
        CHECK_THAT(gguf_string_is(s, "a"), "metadata of part %.*s", (int)s.length, s.data);
        CHECK_THAT(named == 0 || gguf_header_hash(&file) == hash, "hash depends on the part that was named, %d", named);
        hash = gguf_header_hash(&file);
        gguf_close(&file);
    }
}

static void test_bad(void)
{
    remove_file(names[1]);
    check_refused(names[0], names[1], "part 2 of 3: cannot be opened: No such file");
    check_refused(names[2], names[1], "part 2 of 3: cannot be opened: No such file");

    write_part(names[1], (struct part_case){2, 3, 3, "b"});
    check_refused(names[0], names[1], "has split.no 2 and split.count 3, expected 1 and 3 as its name says");
    write_part(names[1], (struct part_case){1, 4, 3, "b"});
    check_refused(names[0], names[1], "has split.no 1 and split.count 4, expected 1 and 3");
    write_part(names[1], (struct part_case){0, 0, 0, "b"});
    check_refused(names[0], names[1], "has no split.count and split.no, expected 1 and 3");
    write_part(names[1], (struct part_case){1, 3, 3, "a"});
    check_refused(names[0], names[1], "tensor a appears twice");
    write_file(names[1], "GGUF", 4);
    check_refused(names[0], names[1], "has 4 bytes");

    write_good();
    write_part(names[0], (struct part_case){0, 3, 4, "a"});
    check_refused(names[2], names[0], "the 3 parts hold 3 tensors, expected 4 (split.tensors.count)");
    write_part("renamed.gguf", (struct part_case){1, 3, 3, "b"});
    check_refused("renamed.gguf", "renamed.gguf",
                  "is part 2 of 3 (split.no, split.count), expected a name that ends in -00002-of-00003.gguf");
}

static void test_single(void)
{
    write_part("m-00001-of-00001.gguf", (struct part_case){0, 1, 1, "a"});
    CHECK_THAT(open_file("m-00001-of-00001.gguf") == 0, "%s", err.text);
    gguf_close(&file);
    write_part("m-0001-of-0003.gguf", (struct part_case){0, 0, 0, "a"}); /* only five digits make a part */
    CHECK_THAT(open_file("m-0001-of-0003.gguf") == 0, "%s", err.text);
    gguf_close(&file);
    write_part("m-00004-of-00003.gguf", (struct part_case){0, 0, 0, "a"});
    CHECK_THAT(open_file("m-00004-of-00003.gguf") == 0, "%s", err.text);
    gguf_close(&file);
    write_file("empty.gguf", "", 0);
    check_refused("empty.gguf", "empty.gguf", "is empty");
    char path[256];
    snprintf(path, sizeof path, "%s/pipe.gguf", folder);
    CHECK_INT(mkfifo(path, 0600), 0);
    check_refused("pipe.gguf", "pipe.gguf", "is no regular file");
    check_refused(".", ".", "is no regular file");
    check_refused("absent.gguf", "absent.gguf", "cannot be opened: No such file");
}

int main(void)
{
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    write_good();
    test_good();
    test_bad();
    test_single();
    const char *rest[] = {names[0],
                          names[1],
                          names[2],
                          "renamed.gguf",
                          "m-00001-of-00001.gguf",
                          "m-0001-of-0003.gguf",
                          "m-00004-of-00003.gguf",
                          "empty.gguf",
                          "pipe.gguf"};
    for (size_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        remove_file(rest[i]);
    }
    CHECK_THAT(rmdir(folder) == 0, "%s was not empty", folder);
    return check_result();
}
