/* The timeline as JSON: slices, bubbles, arrows, counters; names that need quoting. SPDX-License-Identifier: MIT */
#include <jansson.h>
#include <math.h>

#include "src/commands/job/trace_json.h"
#include "tests/check.h"

/* Event i of those with this phase and name. */
static json_t *find(json_t *events, const char *phase, const char *name, size_t i)
{
    size_t at;
    json_t *e;
    json_array_foreach(events, at, e)
    {
        if (strcmp(json_string_value(json_object_get(e, "ph")), phase) == 0 &&
            strcmp(json_string_value(json_object_get(e, "name")), name) == 0 && i-- == 0) {
            return e;
        }
    }
    return NULL;
}

static double number(json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static const char *text(json_t *object, const char *key)
{
    const char *found = json_string_value(json_object_get(object, key));
    return found ? found : "";
}

static double argument(json_t *event, const char *key)
{
    return number(json_object_get(event, "args"), key);
}

static void check_near(double found, double expected)
{
    CHECK_THAT(fabs(found - expected) < 1e-3, "%.6f, expected %.6f", found, expected);
}

static json_t *write_all(void)
{
    static const struct trace_event work[] = {{100.001, 0, 0.002f, 5, TRACE_FORWARD, 0},
                                              {100.0030005, 0, 0.001f, 1, TRACE_HEAD, 0},
                                              {100.010, 1, 0.002f, 6, TRACE_FORWARD, 0},
                                              {100.015, UINT64_MAX, 0, 0, TRACE_FORWARD, 0}};
    static const struct trace_event messages[] = {{100.0, UINT64_MAX, 0, 1, TRACE_IN_FLIGHT, 0},
                                                  {100.003, 3, 0, 900, TRACE_SEND, 1},
                                                  {100.0030005, 2, 0, 70, TRACE_RECEIVE, 2},
                                                  {100.004, 2, 0, 50, TRACE_RECEIVE_HEAD, 1},
                                                  {100.009, UINT64_MAX, 0, 9, TRACE_SEND, 0}};
    FILE *f = tmpfile();
    struct trace_json j = {.out = f, .start_s = 100, .n_ranks = 3};
    json_error_t error;
    if (!f) {
        fatal("no temporary file");
    }
    trace_json_begin(&j);
    trace_json_rank(&j, 0, "a \"b\"\n\xff");
    trace_json_thread(&j, 0, TRACE_COMPUTE, work, 4);
    trace_json_thread(&j, 0, TRACE_MESSAGES, messages, 5);
    trace_json_end(&j, 12);
    rewind(f);
    json_t *root = json_loadf(f, 0, &error);
    CHECK_THAT(root != NULL, "line %d: %s", error.line, error.text);
    fclose(f);
    return root;
}

int main(void)
{
    json_t *root = write_all(), *events = json_object_get(root, "traceEvents"), *e;
    CHECK_INT(argument(root, "x"), 0);
    CHECK_INT(number(json_object_get(root, "otherData"), "events_lost"), 12);
    e = json_object_get(find(events, "M", "process_name", 0), "args");
    CHECK_TEXT(json_string_value(json_object_get(e, "name")), "a \"b\"\n\xef\xbf\xbd");

    e = find(events, "X", "forward", 0);
    check_near(number(e, "ts"), 1000);
    check_near(number(e, "dur"), 2000);
    CHECK_INT(argument(e, "rows"), 5);
    CHECK_INT(argument(find(events, "X", "forward", 1), "batch"), 1);
    CHECK_THAT(!find(events, "X", "forward", 2), "the end of the job is shown");
    check_near(number(find(events, "X", "head", 0), "ts"), 3000.5);
    e = find(events, "X", "wait", 0); /* the half microsecond before the head is none */
    check_near(number(e, "ts"), 4000.5);
    check_near(number(e, "dur"), 5999.5);
    CHECK_THAT(!find(events, "X", "wait", 1), "a second bubble");

    CHECK_INT(argument(find(events, "C", "batches in flight", 0), "batches"), 1);
    e = find(events, "X", "send", 0);
    CHECK_INT(argument(e, "bytes"), 900);
    check_near(number(e, "dur"), 0.5); /* the receive comes 0.5 us later */
    CHECK_THAT(!find(events, "X", "send", 1), "the stop message is shown");
    CHECK_TEXT(text(find(events, "s", "hop", 0), "id"), "hop 3 0-1");
    CHECK_TEXT(text(find(events, "f", "hop", 0), "id"), "hop 2 2-0");
    CHECK_TEXT(text(find(events, "f", "head", 0), "id"), "head 2 1-0");
    json_decref(root);
    return check_result();
}
