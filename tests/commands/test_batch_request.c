/* Lines of a batch: both forms, every field, and one clear message for everything that is wrong. SPDX-License-Identifier: MIT */
#include "tests/commands/small_model.h"

#include <math.h>

static struct small_model small;

static void check_ids(const struct batch_request *b, const char *expected)
{
    char text[512] = "";
    for (size_t i = 0; i < b->prompt.n && strlen(text) < 400; i++) {
        snprintf(text + strlen(text), 16, i ? " %d" : "%d", b->prompt.ids[i]);
    }
    CHECK_TEXT(text, expected);
}

static void test_forms(void)
{
    static const struct {
        const char *line;
        enum batch_form form;
        const char *ids;
    } cases[] = {
        {"{\"prompt\":\" hell\"}", BATCH_SHORT, "258 257"},
        {"{\"ids\":[3,4,5],\"prompt\":null}", BATCH_SHORT, "3 4 5"},
        {"{\"prompt\":[\" hell\"]}", BATCH_SHORT, "258 257"},
        {"{\"prompt\":[[7]],\"metadata\":[{}]}", BATCH_SHORT, "7"},
        {"{\"prompt\":\"he\\u0000\"}", BATCH_SHORT, "256 0"},
        {"{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":[1,2],\"ids\":[5]}}",
         BATCH_COMPLETION, "1 2"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"he\",\"content\":"
         "[{\"type\":\"text\",\"text\":\"l\"},{\"type\":\"text\",\"text\":\"l\"}]}],\"prompt\":5}}",
         BATCH_CHAT, NULL},
        {"{\"messages\":[{\"role\":\"he\",\"content\":null}]}", BATCH_SHORT, NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct batch_request *b = small_model_parse(&small, cases[i].line);
        CHECK_THAT(!b->code, "%s: %s", cases[i].line, b->error);
        CHECK_INT(b->form, cases[i].form);
        CHECK_INT(b->line, 7);
        if (cases[i].ids) {
            check_ids(b, cases[i].ids);
        }
        batch_request_free(b);
    }
}

static void check_same_ids(const struct batch_request *a, const struct batch_request *b)
{
    CHECK_INT(a->prompt.n, b->prompt.n);
    for (size_t i = 0; i < a->prompt.n && i < b->prompt.n; i++) {
        CHECK_INT(a->prompt.ids[i], b->prompt.ids[i]);
    }
}

/* <|im_start|> is no token of this vocabulary: its letters are; <|im_end|> is one. */
static void test_messages(void)
{
    struct batch_request *b = small_model_parse(&small, "{\"messages\":[{\"role\":\"he\",\"content\":\"ll\"}]}");
    struct batch_request *same = small_model_parse(&small,
                                                   "{\"prompt\":\"<|im_start|>he\\nll<|im_end|>\\n<|im_start|>assistant\\n\"}");
    CHECK_THAT(!b->code && !same->code, "%s", b->error ? b->error : "");
    check_same_ids(b, same);
    batch_request_free(b);
    batch_request_free(same);
}

static void test_parameters(void)
{
    struct batch_request *b = small_model_parse(&small, "{\"prompt\":\"he\"}");
    uint64_t seed = b->params.sampling.seed;
    CHECK_INT(b->params.n_predict, 9);
    CHECK_INT(b->params.n_stops, 1);
    CHECK_INT(b->params.sampling.top_k, 40);
    CHECK_THAT(seed <= UINT32_MAX, "%llu", (unsigned long long)seed);
    batch_request_free(b);
    b = batch_request_parse(&small.setup, 8, "{\"prompt\":\"he\"}", 15);
    CHECK_THAT(b->params.sampling.seed != seed, "line 7 and line 8 have the seed %llu", (unsigned long long)seed);
    batch_request_free(b);
    b = small_model_parse(&small,
                          "{\"prompt\":\"he\",\"max_tokens\":3.0,\"temperature\":0,\"top_k\":0,\"top_p\":0.5,\"min_p\":0.25,"
                          "\"typical_p\":0.75,\"repeat_penalty\":1.5,\"repeat_last_n\":-1,\"presence_penalty\":-2,"
                          "\"frequency_penalty\":2,\"seed\":9223372036854775807,\"stop\":[\"a\",\"b\"],\"ignore_eos\":true,"
                          "\"logit_bias\":{\"5\":-100,\"6\":1.5},\"logprobs\":3,\"n\":1,\"tools\":[],\"echo\":false}");
    CHECK_THAT(!b->code, "%s", b->error);
    const struct request_params *p = &b->params;
    const struct sampler_params *s = &p->sampling;
    CHECK_INT(p->n_predict, 3);
    CHECK_INT(s->top_k, 0);
    CHECK_THAT(s->temperature == 0 && s->top_p == 0.5f && s->min_p == 0.25f && s->typical_p == 0.75f, "%g %g %g %g",
               (double)s->temperature, (double)s->top_p, (double)s->min_p, (double)s->typical_p);
    CHECK_THAT(s->repeat_penalty == 1.5f && s->presence_penalty == -2 && s->frequency_penalty == 2, "%g %g %g",
               (double)s->repeat_penalty, (double)s->presence_penalty, (double)s->frequency_penalty);
    CHECK_INT(s->repeat_last_n, -1);
    CHECK_INT(s->seed, INT64_MAX);
    CHECK_INT(p->ignore_eos, 1);
    CHECK_INT(p->n_stops, 2);
    CHECK_TEXT(p->stops[1], "b");
    CHECK_INT(s->n_bias, 2);
    CHECK_THAT(s->bias[0].id + s->bias[1].id == 11 && s->bias[0].bias + s->bias[1].bias == -98.5f, "%d", s->bias[0].id);
    CHECK_INT(s->n_logprobs, 3);
    struct error err = {{0}};
    CHECK_INT(request_init(&b->request, &small.model, &b->params, &b->prompt, &err), 0);
    b->started = 1;
    CHECK_INT(b->request.sequence.max_ids, 4);
    CHECK_INT(b->request.sequence.sampling.n_bias, 3); /* and <|im_end|> */
    CHECK_INT(b->request.sequence.sampling.bias[2].id, BPE_IM_END);
    CHECK_THAT(isinf(b->request.sequence.sampling.bias[2].bias), "%g", (double)b->request.sequence.sampling.bias[2].bias);
    batch_request_free(b);
}

static void test_logprobs(void)
{
    static const struct {
        const char *line;
        int wants, n_top, n_logprobs;
    } cases[] = {
        {"{\"prompt\":\"he\",\"logprobs\":0}", 0, 0, 0},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"he\",\"logprobs\":0}}", 1, 0, 1},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"he\",\"logprobs\":5}}", 1, 5, 5},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"he\",\"logprobs\":null}}", 0, 0, 0},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"user\"}],\"logprobs\":true}}",
         1, 0, 1},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"user\"}],\"logprobs\":true,"
         "\"top_logprobs\":4}}",
         1, 4, 4},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"user\"}],\"top_logprobs\":4}}",
         0, 0, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct batch_request *b = small_model_parse(&small, cases[i].line);
        CHECK_THAT(!b->code, "%s: %s", cases[i].line, b->error);
        CHECK_INT(b->wants_logprobs, cases[i].wants);
        CHECK_INT(b->n_top, cases[i].n_top);
        CHECK_INT(b->params.sampling.n_logprobs, cases[i].n_logprobs);
        batch_request_free(b);
    }
}

static void test_refused(void)
{
#define BODY(body) "{\"custom_id\":\"a\",\"url\":\"/v1/completions\",\"body\":" body "}"
    static const struct {
        const char *line, *code, *message;
    } cases[] = {
        {"hello", "invalid_json_line", "no JSON: "},
        {"[1]", "invalid_json_line", "no JSON object"},
        {"{\"prompt\":\"a\"} {}", "invalid_json_line", "no JSON: "},
        {"{}", "invalid_request", "no prompt, expected one of"},
        {"{\"prompt\":\"a\",\"ids\":[1]}", "invalid_request", "more than one prompt"},
        {"{\"prompt\":7}", "invalid_request", "\"prompt\" is 7, expected a text or a list of token ids"},
        {"{\"prompt\":[]}", "invalid_request", "the prompt is empty"},
        {"{\"prompt\":[\"a\",\"b\"]}", "invalid_request", "a list of 2 prompts, expected one"},
        {"{\"ids\":[1,999]}", "invalid_request", "\"ids\" names token 999, the vocabulary has 0 to 263"},
        {"{\"ids\":[1,-1]}", "invalid_request", "\"ids\" names token -1"},
        {"{\"ids\":[1.5]}", "invalid_request", "\"ids\" is [1.5], expected a list of token ids"},
        {"{\"ids\":\"1\"}", "invalid_request", "\"ids\" is \"1\", expected a list of token ids"},
        {"{\"messages\":[]}", "invalid_request", "\"messages\" is [], expected a list of at least one message"},
        {"{\"messages\":[{\"content\":\"a\"}]}", "invalid_request", "expected objects with \"role\" and \"content\""},
        {"{\"messages\":[{\"role\":\"user\",\"content\":5}]}", "invalid_request", "\"content\" is 5, expected a text"},
        {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}", "invalid_request", "\"content\" is "},
        {"{\"prompt\":\"a\",\"temperature\":\"hot\"}", "invalid_request", "\"temperature\" is \"hot\", expected a number from 0"},
        {"{\"prompt\":\"a\",\"temperature\":-1}", "invalid_request", "\"temperature\" is -1"},
        {"{\"prompt\":\"a\",\"top_p\":1.5}", "invalid_request", "\"top_p\" is 1.5, expected a number from 0 to 1"},
        {"{\"prompt\":\"a\",\"max_tokens\":1.5}", "invalid_request", "\"max_tokens\" is 1.5, expected a whole number from -1"},
        {"{\"prompt\":\"a\",\"seed\":-1}", "invalid_request", "\"seed\" is -1"},
        {"{\"prompt\":\"a\",\"stop\":\"\"}", "invalid_request", "\"stop\" is \"\", expected"},
        {"{\"prompt\":\"a\",\"stop\":[\"a\",5]}", "invalid_request", "\"stop\" is [\"a\",5], expected"},
        {"{\"prompt\":\"a\",\"logit_bias\":{\"x\":1}}", "invalid_request", "\"logit_bias\" names token \"x\""},
        {"{\"prompt\":\"a\",\"logit_bias\":{\"264\":1}}", "invalid_request", "\"logit_bias\" names token \"264\""},
        {"{\"prompt\":\"a\",\"logit_bias\":{\"1\":\"x\"}}", "invalid_request", "\"logit_bias\" is \"x\""},
        {"{\"prompt\":\"a\",\"logit_bias\":[]}", "invalid_request", "\"logit_bias\" is []"},
        {"{\"prompt\":\"a\",\"logprobs\":65}", "invalid_request", "\"logprobs\" is 65"},
        {"{\"prompt\":\"a\",\"ignore_eos\":1}", "invalid_request", "\"ignore_eos\" is 1, expected true or false"},
        {"{\"prompt\":\"a\",\"n\":2}", "invalid_request", "\"n\" is not 1"},
        {"{\"prompt\":\"a\",\"temprature\":1}", "invalid_request", "\"temprature\" is not a field that is known"},
        {"{\"prompt\":\"a\",\"tools\":[{}]}", "invalid_request", "\"tools\" cannot be honoured"},
        {"{\"prompt\":\"a\",\"response_format\":{\"type\":\"json_object\"}}", "invalid_request", "\"response_format\" is "},
        {"{\"prompt\":\"0000000000000000000000000000000000000000000000000000000000000000000\"}", "context_length_exceeded",
         "the prompt has 67 tokens, the context 64 positions (-c, --kv-memory)"},
        {"{\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"a\"}}", "invalid_request", "\"custom_id\" is missing"},
        {"{\"custom_id\":5,\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"a\"}}", "invalid_request", "\"custom_id\" is 5"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/embeddings\",\"body\":{}}", "invalid_request", "\"url\" is not"},
        {"{\"custom_id\":\"a\",\"url\":\"/v1/completions\"}", "invalid_request", "\"body\" is missing"},
        {"{\"custom_id\":\"a\",\"body\":{\"prompt\":\"a\"}}", "invalid_request", "\"url\" is not"},
        {"{\"custom_id\":\"a\",\"method\":\"GET\",\"url\":\"/v1/completions\",\"body\":{}}", "invalid_request",
         "\"method\" is \"GET\""},
        {BODY("{\"messages\":[]}"), "invalid_request", "no prompt, expected \"prompt\" in the body"},
        {BODY("{\"prompt\":\"\"}"), "invalid_request", "the prompt is empty"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct batch_request *b = small_model_parse(&small, cases[i].line);
        CHECK_THAT(b->code && strcmp(b->code, cases[i].code) == 0, "%s: code %s", cases[i].line, b->code ? b->code : "none");
        CHECK_THAT(b->error && strncmp(b->error, "line 7: ", 8) == 0 && strstr(b->error, cases[i].message), "%s: %s",
                   cases[i].line, b->error ? b->error : "no error");
        batch_request_free(b);
    }
}

static void test_no_chat(void)
{
    struct batch_setup setup = small.setup;
    setup.chat = NULL;
    setup.no_chat = "no template";
    static const char line[] = "{\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}";
    struct batch_request *b = batch_request_parse(&setup, 1, line, strlen(line));
    CHECK_TEXT(b->error ? b->error : "", "line 1: no template");
    batch_request_free(b);
}

int main(void)
{
    small_model_open(&small);
    test_forms();
    test_messages();
    test_parameters();
    test_logprobs();
    test_refused();
    test_no_chat();
    small_model_close(&small);
    return check_result();
}
