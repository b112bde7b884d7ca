/* Lines of results: both forms, errors, log-probabilities. SPDX-License-Identifier: MIT */
#include "src/commands/batch/batch_result.h"
#include "tests/commands/small_model.h"

static struct small_model small;

/* Runs the request with these ids as its answer (-1 ends the list). */
static void answer(struct batch_request *b, const int32_t *ids)
{
    struct error err = {{0}};
    CHECK_THAT(!b->code, "%s", b->error);
    CHECK_THAT(request_init(&b->request, &small.model, &b->params, &b->prompt, &err) == 0, "%s", err.text);
    b->started = 1;
    struct sequence *q = &b->request.sequence;
    for (; *ids >= 0 && q->stop == SEQUENCE_RUNNING; ids++) {
        struct sampler_result result = {
            .id = *ids, .logprob = -0.5f, .n_top = 2, .top_ids = {*ids, 0xc3}, .top_logprobs = {-0.5f, -2}};
        sequence_append(q, *ids);
        request_take(&b->request, &result);
    }
    q->stop = q->stop == SEQUENCE_RUNNING ? SEQUENCE_STOP_LENGTH : q->stop;
    request_finish(&b->request);
}

static void check_line(const char *request, const int32_t *ids, const char *expected)
{
    struct batch_request *b = small_model_parse(&small, request);
    b->id_bits = 0xab;
    if (ids) {
        answer(b, ids);
    }
    size_t n;
    char *line = batch_result_line(b, "m.gguf", 99, &n), text[2048];
    CHECK_THAT(line && n < sizeof text && line[n - 1] == '\n', "no whole line");
    snprintf(text, sizeof text, "%.*s", (int)n - 1, line);
    CHECK_TEXT(text, expected);
    free(line);
    batch_request_free(b);
}

static void test_short(void)
{
    static const int32_t ids[] = {BPE_HE, 0xc3, BPE_LLO, -1}, ended[] = {BPE_HE, BPE_IM_END, -1};
    check_line(
        "{\"prompt\":\"he\",\"seed\":3,\"id\":[5]}", ids,
        "{\"id\":[5],\"line\":7,\"ids\":[256,195,259],\"text\":\"he\xef\xbf\xbdllo\",\"logprobs\":[],\"stop_reason\":\"length\","
        "\"seed\":3,\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":3,\"total_tokens\":4}}");
    check_line(
        "{\"prompt\":\"he\",\"seed\":3,\"custom_id\":\"x\",\"logprobs\":2}", ended,
        "{\"custom_id\":\"x\",\"line\":7,\"ids\":[256,260],\"text\":\"he\",\"logprobs\":[{\"id\":256,\"logprob\":-0.5,\"top\":"
        "[[256,-0.5],[195,-2.0]]},{\"id\":260,\"logprob\":-0.5,\"top\":[[260,-0.5],[195,-2.0]]}],\"stop_reason\":\"eos\","
        "\"seed\":3,\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}");
    check_line(
        "{\"prompt\":5,\"id\":\"x\"}", NULL,
        "{\"id\":\"x\",\"line\":7,\"error\":{\"code\":\"invalid_request\",\"message\":\"line 7: \\\"prompt\\\" is 5, expected a "
        "text or a list of token ids\"}}");
}

#define HEAD     "{\"id\":\"batch_req_00000000000000ab\",\"custom_id\":"
#define RESPONSE "\"response\":{\"status_code\":200,\"request_id\":\"req_00000000000000ab\",\"body\":"

static void test_openai(void)
{
    static const int32_t ids[] = {BPE_HE, BPE_LLO, -1}, stopped[] = {0xc3, 0xa9, BPE_HE, BPE_LL, -1}, ended[] = {BPE_IM_END, -1};
    check_line(
        "{\"custom_id\":\"x\",\"url\":\"/v1/completions\",\"body\":{\"model\":\"gpt\",\"prompt\":\"he\",\"seed\":3}}", ids,
        HEAD "\"x\"," RESPONSE "{\"id\":\"cmpl-00000000000000ab\",\"object\":\"text_completion\",\"created\":99,\"model\":"
             "\"m.gguf\",\"choices\":[{\"text\":\"hello\",\"index\":0,\"logprobs\":null,\"finish_reason\":\"length\"}],\"usage\":"
             "{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3},\"seed\":3}},\"error\":null}");
    /* The stop string takes the second half of the text; é comes in two tokens. */
    check_line(
        "{\"custom_id\":\"x\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"he\",\"seed\":3,\"logprobs\":1,\"stop\":\"ll\"}}",
        stopped,
        HEAD "\"x\"," RESPONSE "{\"id\":\"cmpl-00000000000000ab\",\"object\":\"text_completion\",\"created\":99,\"model\":"
             "\"m.gguf\",\"choices\":[{\"text\":\"\xc3\xa9he\",\"index\":0,\"logprobs\":{\"tokens\":[\"bytes:\\\\xc3\","
             "\"bytes:\\\\xa9\",\"he\"],\"token_logprobs\":[-0.5,-0.5,-0.5],\"top_logprobs\":[{\"bytes:\\\\xc3\":-0.5},"
             "{\"bytes:\\\\xa9\":-0.5},{\"he\":-0.5}],\"text_offset\":[0,1,1]},\"finish_reason\":\"stop\"}],\"usage\":"
             "{\"prompt_tokens\":1,\"completion_tokens\":4,\"total_tokens\":5},\"seed\":3}},\"error\":null}");
    check_line("{\"custom_id\":\"x\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"\",\"content\":\"\"}],"
               "\"seed\":3}}",
               ended,
               HEAD "\"x\"," RESPONSE
                    "{\"id\":\"chatcmpl-00000000000000ab\",\"object\":\"chat.completion\",\"created\":99,\"model\":"
                    "\"m.gguf\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"\",\"refusal\":null},"
                    "\"logprobs\":null,\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":37,\"completion_tokens\":1,"
                    "\"total_tokens\":38},\"seed\":3}},\"error\":null}");
}

static void test_chat_logprobs(void)
{
    static const int32_t ids[] = {0xc3, -1};
    struct batch_request *b = small_model_parse(
        &small, "{\"custom_id\":\"x\",\"url\":\"/v1/chat/completions\",\"body\":{\"messages\":[{\"role\":\"\"}],"
                "\"logprobs\":true,\"top_logprobs\":1}}");
    answer(b, ids);
    size_t n;
    char *line = batch_result_line(b, "m.gguf", 99, &n);
    line[n - 1] = 0;
    CHECK_THAT(strstr(line,
                      "\"logprobs\":{\"content\":[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[195],\"top_logprobs\":"
                      "[{\"token\":\"\xef\xbf\xbd\",\"logprob\":-0.5,\"bytes\":[195]}]}],\"refusal\":null}"),
               "%s", line);
    free(line);
    batch_request_free(b);
}

static void test_errors(void)
{
    check_line("{", NULL,
               HEAD
               "null,\"response\":null,\"error\":{\"code\":\"invalid_json_line\",\"message\":\"line 7: no JSON: string or '}' "
               "expected near end of file (column 1)\"}}");
    check_line("{\"custom_id\":\"x\",\"url\":\"/v1/completions\",\"body\":{\"prompt\":\"\"}}", NULL,
               HEAD "\"x\",\"response\":null,\"error\":{\"code\":\"invalid_request\",\"message\":\"line 7: the prompt is empty, "
                    "expected at least one token\"}}");
}

int main(void)
{
    small_model_open(&small);
    test_short();
    test_openai();
    test_chat_logprobs();
    test_errors();
    small_model_close(&small);
    return check_result();
}
