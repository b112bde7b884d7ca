/* ChatML: which templates are taken for it, the default system message, the prompt. SPDX-License-Identifier: MIT */
#include "io/chatml.h"

#include "tests/check.h"
#include "tests/tokenizer/gguf_bytes.h"

#define USER                                                            \
    {                                                                   \
        .role = "user", .n_role = 4, .content = "Hi.\n", .n_content = 4 \
    }
#define SYSTEM                                                                \
    {                                                                         \
        .role = "system", .n_role = 6, .content = "Be brief.", .n_content = 9 \
    }
static const char HI[] = "<|im_start|>user\nHi.\n<|im_end|>\n<|im_start|>assistant\n";

static int open_template(struct chatml *c, const char *text, struct error *err)
{
    static struct gguf_bytes bytes;
    struct gguf file;
    gguf_bytes_init(&bytes);
    if (text) {
        gguf_bytes_add_text(&bytes, "tokenizer.chat_template", text);
    }
    CHECK_THAT(gguf_open_memory(&file, bytes.data, bytes.n, err) == 0, "%s", err->text);
    int status = chatml_open(c, &file, err);
    gguf_close(&file);
    return status;
}

/* The prompt for messages by a template; expected has `system` in front. */
static void check_prompt(const char *template_text, const struct chatml_message *messages, size_t n, const char *system)
{
    struct chatml c;
    struct error err = {{0}};
    CHECK_THAT(open_template(&c, template_text, &err) == 0, "%s", err.text);
    char *text, expected[512];
    size_t n_text;
    CHECK_INT(chatml_render(&c, messages, n, &text, &n_text, &err), 0);
    snprintf(expected, sizeof expected, "%s%s", system, HI);
    CHECK_TEXT(text, expected);
    CHECK_INT(n_text, strlen(expected));
    free(text);
    chatml_close(&c);
}

static void test_render(void)
{
    static const char bare[] =
        "{% for m in messages %}{{'<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n'}}";
    /* SmolLM2 has the newline as a byte, Qwen2 as \n and a longer way round first. */
    static const char smol[] = "{{ '<|im_start|>system\nYou are helpful\\nand kind<|im_end|>\n' }}";
    static const char qwen[] = "{{ '<|im_start|>system\\n' + messages[0]['content'] + '<|im_end|>\\n' }}"
                               "{{ '<|im_start|>system\\nYou are Qwen.<|im_end|>\\n' }}";
    static const struct chatml_message user[] = {USER}, both[] = {SYSTEM, USER};
    check_prompt(bare, user, 1, "");
    check_prompt(bare, both, 2, "<|im_start|>system\nBe brief.<|im_end|>\n");
    check_prompt(smol, user, 1, "<|im_start|>system\nYou are helpful\nand kind<|im_end|>\n");
    check_prompt(smol, both, 2, "<|im_start|>system\nBe brief.<|im_end|>\n");
    check_prompt(qwen, user, 1, "<|im_start|>system\nYou are Qwen.<|im_end|>\n");
    check_prompt("<|im_end|><|im_start|>system\\n<|im_end|>", user, 1, "");
}

static void test_refused(void)
{
    struct chatml c;
    struct error err = {{0}};
    CHECK_INT(open_template(&c, NULL, &err), -1);
    CHECK_THAT(strstr(err.text, "no chat template"), "%s", err.text);
    CHECK_INT(open_template(&c, "{{ '<|start_header_id|>' }}", &err), -1);
    CHECK_THAT(strstr(err.text, "known: ChatML"), "%s", err.text);
    chatml_close(&c);
}

int main(void)
{
    test_render();
    test_refused();
    return check_result();
}
