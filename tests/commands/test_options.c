/* The option table: values, bounds, and one clear line for everything that is wrong. SPDX-License-Identifier: MIT */
#include "src/commands/options.h"
#include "tests/check.h"

struct sample {
    const char *text;
    struct option_texts texts;
    struct option_ints ints;
    int32_t number;
    int64_t seed;
    float real;
    uint64_t bytes;
    int flag, choice;
};

#define AT(field) offsetof(struct sample, field)
static const struct option table[] = {
    {.kind = OPTION_GROUP, .help = "Group"},
    {"-p --prompt", OPTION_TEXT, AT(text), 0, 0, NULL, "TEXT", "a text"},
    {"--stop", OPTION_TEXTS, AT(texts), 0, 0, NULL, "TEXT", "texts"},
    {"--split", OPTION_INTS, AT(ints), 0, 100, NULL, "1,2", "numbers"},
    {"-n --predict", OPTION_INT, AT(number), -1, 1000, NULL, "N", "a number"},
    {"-s --seed", OPTION_SEED, AT(seed), 0, 0, NULL, "N", "a seed"},
    {"--temp", OPTION_FLOAT, AT(real), 0, 2, NULL, "T", "a real number"},
    {"--memory-limit", OPTION_BYTES, AT(bytes), 0, 0, NULL, "BYTES", "bytes"},
    {"--json", OPTION_FLAG, AT(flag), 0, 0, NULL, NULL, "a flag"},
    {"-ctk", OPTION_CHOICE, AT(choice), 0, 0, "f32 f16 q8_0", "TYPE", "one of"},
    {.kind = OPTION_GROUP},
};

static int parse(struct sample *s, struct error *err, int argc, const char *const *argv)
{
    memset(s, 0, sizeof *s);
    memset(err, 0, sizeof *err);
    return options_parse(table, s, argc, (char **)(size_t)argv, 0, err);
}

static void test_values(void)
{
    static const char *const argv[] = {
        "-p",     "-dash",        "--stop", "a",   "--stop=b=c",     "--split", "5,0,9",  "-n",   "-1",
        "--seed", "123456789012", "--temp", "0.5", "--memory-limit", "1.5G",    "--json", "-ctk", "q8_0"};
    struct sample s;
    struct error err;
    CHECK_THAT(parse(&s, &err, sizeof argv / sizeof *argv, argv) == 0, "%s", err.text);
    CHECK_TEXT(s.text, "-dash");
    CHECK_INT(s.texts.n, 2);
    CHECK_TEXT(s.texts.texts[1], "b=c");
    CHECK_INT(s.ints.n, 3);
    CHECK_INT(s.ints.values[2], 9);
    CHECK_INT(s.number, -1);
    CHECK_INT(s.seed, 123456789012);
    CHECK_THAT(s.real == 0.5f, "%g", (double)s.real);
    CHECK_INT(s.bytes, 1500000000);
    CHECK_INT(s.flag, 1);
    CHECK_INT(s.choice, 2);
    options_free(table, &s);
}

static void test_refused(void)
{
    static const struct {
        const char *argv[2];
        const char *message;
    } cases[] = {
        {{"--tmp", "1"}, "unknown option --tmp; did you mean --temp? (--help lists all)"},
        {{"-y", "1"}, "unknown option -y (--help lists all)"},
        {{"-ts", "1,2"},
         "unknown option -ts; layers are divided by measured speed, or by hand with --split 5,9,9 (layers, not shares)"},
        {{"--rpc=a:1", ""}, "unknown option --rpc; nothing has to run on the nodes: mpirun --hostfile FILE starts all ranks"},
        {{"--flash-attn", "on"},
         "unknown option --flash-attn; not needed: there is one kind of attention, which keeps no matrix of scores"},
        {{"--temperature", "1"}, "unknown option --temperature; it is --temp here"},
        {{"hello", ""}, "\"hello\" is no option (--help lists all)"},
        {{"--json=1", ""}, "--json takes no value"},
        {{"-n", "12x"}, "-n is \"12x\", expected a whole number from -1 to 1000"},
        {{"-n", "1001"}, "-n is \"1001\", expected a whole number from -1 to 1000"},
        {{"-n", "99999999999999999999"}, "-n is \"99999999999999999999\", expected a whole number from -1 to 1000"},
        {{"--temp", "nan"}, "--temp is \"nan\", expected a number from 0 to 2"},
        {{"--split", "1,,2"}, "--split is \"1,,2\", expected whole numbers from 0 to 100 with commas between them"},
        {{"--split", "1,2,"}, "--split is \"1,2,\", expected whole numbers from 0 to 100 with commas between them"},
        {{"-ctk", "f8"}, "-ctk is \"f8\", expected one of: f32 f16 q8_0"},
        {{"--memory-limit", "8 "}, "--memory-limit is \"8 \", expected a number of bytes such as 800M, 4G or 4GiB"},
        {{"--memory-limit", "-1"}, "--memory-limit is \"-1\", expected a number of bytes such as 800M, 4G or 4GiB"},
        {{"--seed", "-1"}, "--seed is \"-1\", expected a whole number from 0 to 9223372036854775807"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct sample s;
        struct error err;
        CHECK_INT(parse(&s, &err, 2, cases[i].argv), -1);
        CHECK_TEXT(err.text, cases[i].message);
        options_free(table, &s);
    }
    static const char *const missing[] = {"--temp"};
    struct sample s;
    struct error err;
    CHECK_INT(parse(&s, &err, 1, missing), -1);
    CHECK_TEXT(err.text, "--temp needs a value (T)");
}

static void test_bytes(void)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } cases[] = {{"0", 0}, {"8", 8}, {"8k", 8000}, {"8KB", 8000}, {"8KiB", 8192}, {"2GiB", 2147483648u}, {"0.5M", 500000}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *argv[] = {"--memory-limit", cases[i].text};
        struct sample s;
        struct error err;
        CHECK_THAT(parse(&s, &err, 2, argv) == 0, "%s", err.text);
        CHECK_INT(s.bytes, cases[i].bytes);
    }
}

int main(void)
{
    test_values();
    test_refused();
    test_bytes();
    return check_result();
}
