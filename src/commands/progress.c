/* SPDX-License-Identifier: MIT */
#include "src/commands/progress.h"

#include <stdarg.h>
#include <string.h>

#include "src/core/clock.h"
#include "src/core/log.h"

enum { BAR_WIDTH = 10, LINE_WIDTH = 74, MAX_SHARES = 4 };
static const double DRAW_S = 0.2, SAY_S = 10;

void progress_init(struct progress *p, int draws)
{
    *p = (struct progress){.draws = draws, .last_s = clock_now_s()};
}

/* Appends to the text of `size` bytes that has *at; what does not fit is left out. */
__attribute__((format(printf, 4, 5))) static void add(char *text, size_t size, size_t *at, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text + *at, size - *at, format, arguments);
    va_end(arguments);
    *at = n < 0 ? *at : *at + (size_t)n < size ? *at + (size_t)n : size - 1;
}

static void add_time(char *text, size_t size, size_t *at, double s)
{
    long total = (long)(s + 0.5);
    if (total >= 3600) {
        add(text, size, at, "  eta %ld:%02ld:%02ld", total / 3600, total / 60 % 60, total % 60);
    } else {
        add(text, size, at, "  eta %ld:%02ld", total / 60, total % 60);
    }
}

static double share(const struct progress_counts *c, int32_t rank)
{
    double percent = c->working_s > 0 ? 100 * c->busy_s[rank] / c->working_s : 0;
    return percent < 100 ? percent : 100;
}

/* Each rank's share of the time, or the range of many ranks. */
static void add_shares(char *text, size_t size, size_t *at, const struct progress_counts *c)
{
    double least = 100, most = 0;
    add(text, size, at, "  busy");
    for (int32_t i = 0; i < c->n_ranks; i++) {
        least = share(c, i) < least ? share(c, i) : least;
        most = share(c, i) > most ? share(c, i) : most;
        if (c->n_ranks <= MAX_SHARES) {
            add(text, size, at, " %.0f", share(c, i));
        }
    }
    if (c->n_ranks > MAX_SHARES) {
        add(text, size, at, " %.0f-%.0f", least, most);
    }
    add(text, size, at, " %%");
}

const char *progress_line(const struct progress_counts *c, char *text, size_t size)
{
    size_t at = 0;
    size = size < LINE_WIDTH + 1 ? size : LINE_WIDTH + 1;
    if (c->n_total > 0) {
        char bar[BAR_WIDTH + 1] = "..........";
        memset(bar, '#', (size_t)(BAR_WIDTH * c->n_done / c->n_total));
        add(text, size, &at, "[%s] %lld/%lld", bar, (long long)c->n_done, (long long)c->n_total);
    } else {
        add(text, size, &at, "%lld done", (long long)c->n_done);
    }
    if (c->n_failed > 0) {
        add(text, size, &at, " (%lld failed)", (long long)c->n_failed);
    }
    if (c->working_s > 0) {
        add(text, size, &at, "  %.0f + %.0f tok/s", (double)c->prompt_tokens / c->working_s,
            (double)c->answer_tokens / c->working_s);
    }
    if (c->n_total > c->n_done && c->n_done > 0) {
        add_time(text, size, &at, c->working_s / (double)c->n_done * (double)(c->n_total - c->n_done));
    }
    add_shares(text, size, &at, c);
    return text;
}

void progress_show(struct progress *p, const struct progress_counts *counts)
{
    double now_s = clock_now_s();
    if (log_get_level() < LOG_NORMAL || now_s - p->last_s < (p->draws ? DRAW_S : SAY_S)) {
        return;
    }
    char text[LINE_WIDTH + 1];
    progress_line(counts, text, sizeof text);
    if (p->draws) {
        fprintf(stderr, "\r\033[Kllm: %s", text);
        fflush(stderr);
        p->drawn = 1;
    } else {
        log_info("%s", text);
    }
    p->last_s = now_s;
}

void progress_clear(struct progress *p)
{
    if (p->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        p->drawn = 0;
    }
}
