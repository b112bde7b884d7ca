/* What `llm info` prints of files with everything in them. SPDX-License-Identifier: MIT */
#include "src/commands/info/info_json.h"
#include "src/commands/info/info_print.h"

#include "tests/check.h"
#include "tests/io/gguf_bytes.h"

/* The output for the bytes; free with free(). */
static char *print(const struct gguf_bytes *b, int as_json, int with_tensors)
{
    struct gguf file;
    struct error err = {""};
    char *text = NULL;
    size_t n = 0;
    CHECK_THAT(gguf_open_memory(&file, b->data, b->n, &err) == 0, "%s", err.text);
    FILE *out = open_memstream(&text, &n);
    if (as_json) {
        json_t *root = info_json(&file, with_tensors);
        CHECK_INT(json_dumpf(root, out, JSON_COMPACT), 0);
        json_decref(root);
    } else {
        CHECK_THAT(info_print(out, &file, with_tensors, &err) == 0, "%s", err.text);
    }
    fclose(out);
    gguf_close(&file);
    return text;
}

static void check_has(const char *text, const char *part)
{
    CHECK_THAT(strstr(text, part), "\"%s\" is not in\n%s", part, text);
}

static void test_tables(void)
{
    struct gguf_bytes b = {0};
    gguf_bytes_sample(&b, 3);
    char *text = print(&b, 0, 1);
    check_has(text, "GGUF version 3, ");
    check_has(text, "Metadata (17)");
    check_has(text, "  v.i32     -2000000000\n");
    check_has(text, "  v.u64     1.8446744073709552e+19\n");
    check_has(text, "  v.string  \"gr\xc3\xbc\xc3\x9f\"\n");
    check_has(text, "  a.string  [3 x string] \"one\", \"\", \"three\"\n");
    check_has(text, "  a.none    [0 x string]\n");
    check_has(text, "  b.weight  F16      5 x 1 x 2 x 2                      40");
    check_has(text, "  Q8_0           1                  128      136 B   63.0 %    8.50\n");
    check_has(text, "  all            4                  158      216 B  100.0 %   10.94\n");
    free(text);
    text = print(&b, 0, 0);
    CHECK_THAT(!strstr(text, "b.weight"), "tensors were listed\n%s", text);
    free(text);
    gguf_bytes_free(&b);
}

/* No byte of the file may command the terminal, and no line of metadata is longer than 120 columns. */
static void test_hostile_text(void)
{
    static const char evil[] = "\x1b[2J\r\n\x7f\xc2\x9b"
                               "31m\xff\xe2\x80\xae";
    struct gguf_bytes b = {0};
    gguf_bytes_begin(&b, 3, 0, 4);
    gguf_bytes_key_string(&b, "evil", evil);
    gguf_bytes_key_string(&b, "\x1b[31mkey", "v");
    gguf_bytes_key_string(&b, "", "");
    gguf_bytes_array(&b, "long", GGUF_STRING, 300);
    for (int i = 0; i < 300; i++) {
        gguf_bytes_string(&b, i == 2 ? evil : "0123456789");
    }
    char *text = print(&b, 0, 1);
    check_has(text, "\"\\u001B[2J\\r\\n\\u007F\\u009B31m\xef\xbf\xbd\\u202E\"");
    check_has(text, "\\u001B[31mkey");
    check_has(text, "[300 x string] \"0123456789\", \"0123456789\", ");
    for (const char *line = text; *line; line = strchr(line, '\n') + 1) {
        CHECK_THAT(strcspn(line, "\n") <= 120, "%zu columns: %.*s", strcspn(line, "\n"), (int)strcspn(line, "\n"), line);
    }
    for (const char *p = text; *p; p++) {
        unsigned char c = (unsigned char)*p;
        CHECK_THAT((c >= 0x20 || c == '\n') && c != 0x7f, "byte %02x in the output", c);
    }
    CHECK_THAT(!strstr(text, "\xc2\x9b") && !strstr(text, "\xe2\x80\xae"), "a control character in\n%s", text);
    free(text);
    gguf_bytes_free(&b);
}

static void test_json(void)
{
    struct gguf_bytes b = {0};
    gguf_bytes_sample(&b, 3);
    char *text = print(&b, 1, 1);
    json_error_t error;
    json_t *root = json_loads(text, 0, &error);
    CHECK_THAT(root, "%s in %s", error.text, text);
    json_t *metadata = json_object_get(root, "metadata");
    CHECK_INT(json_object_size(metadata), 17);
    CHECK_INT(json_integer_value(json_object_get(metadata, "v.u32")), 4000000000);
    CHECK_TEXT(json_string_value(json_object_get(metadata, "v.string")), "gr\xc3\xbc\xc3\x9f");
    CHECK_INT(json_array_size(json_object_get(metadata, "a.i16")), 3);
    CHECK_INT(json_integer_value(json_array_get(json_object_get(metadata, "a.i16"), 1)), -2);
    CHECK_INT(json_array_size(json_object_get(root, "tensors")), 4);
    CHECK_INT(json_integer_value(json_object_get(json_array_get(json_object_get(root, "totals"), 0), "bytes")), 24);
    json_decref(root);
    free(text);
    gguf_bytes_free(&b);

    gguf_bytes_begin(&b, 3, 0, 1);
    gguf_bytes_array(&b, "\xff", GGUF_F32, 300);
    for (int i = 0; i < 300; i++) {
        gguf_bytes_f32(&b, i ? 0.5f : 1e30f * 1e30f);
    }
    text = print(&b, 1, 1);
    check_has(text, "{\"kind\":\"f32\",\"count\":300,\"first\":[null,0.5,0.5,0.5,0.5,0.5,0.5,0.5]}");
    free(text);
    gguf_bytes_free(&b);
}

int main(void)
{
    test_tables();
    test_hostile_text();
    test_json();
    return check_result();
}
