/* SPDX-License-Identifier: MIT
 *
 * One automaton a stop string (Knuth, Morris, Pratt): a byte costs a bounded number of steps on average, however the text is cut
 * into pieces. The first string to be complete wins, and of those complete at the same byte the longest, so the cuts do not
 * matter either. */
#include "src/engine/stop.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* borders[i] = length of the longest proper prefix of s[0..i] that is also its suffix. */
static void find_borders(const char *s, size_t n, size_t *borders)
{
    size_t length = 0;
    borders[0] = 0;
    for (size_t i = 1; i < n; i++) {
        while (length > 0 && s[i] != s[length]) {
            length = borders[length - 1];
        }
        length += s[i] == s[length];
        borders[i] = length;
    }
}

int stop_init(struct stop_matcher *m, const char *const *strings, int n_strings, struct error *err)
{
    assert(n_strings >= 0);
    *m = (struct stop_matcher){.strings = strings, .n_strings = n_strings};
    size_t total = 0;
    for (int i = 0; i < n_strings; i++) {
        assert(strings[i][0] != '\0');
        total += strlen(strings[i]);
    }
    if (n_strings == 0) {
        return 0;
    }
    m->borders = malloc(total * sizeof *m->borders);
    m->states = calloc((size_t)n_strings, sizeof *m->states);
    if (!m->borders || !m->states) {
        stop_free(m);
        return error_set(err, "out of memory for %zu bytes of stop strings", total);
    }
    size_t *borders = m->borders;
    for (int i = 0; i < n_strings; i++) {
        size_t n = strlen(strings[i]);
        m->states[i].borders = borders;
        m->states[i].length = n;
        find_borders(strings[i], n, borders);
        borders += n;
    }
    return 0;
}

void stop_free(struct stop_matcher *m)
{
    free(m->held);
    free(m->borders);
    free(m->states);
    *m = (struct stop_matcher){0};
}

/* Advances every automaton by one byte; the length of the longest string that is complete with it, or 0. */
static size_t take_byte(struct stop_matcher *m, char byte)
{
    size_t complete = 0;
    for (int i = 0; i < m->n_strings; i++) {
        struct stop_state *state = &m->states[i];
        while (state->matched > 0 && m->strings[i][state->matched] != byte) {
            state->matched = state->borders[state->matched - 1];
        }
        state->matched += m->strings[i][state->matched] == byte;
        if (state->matched == state->length) {
            complete = state->length > complete ? state->length : complete;
        }
    }
    return complete;
}

/* Puts the new text behind what is held back, over what was shown before. */
static int append(struct stop_matcher *m, const char *text, size_t n, struct error *err)
{
    if (m->n_held > 0) {
        memmove(m->held, m->held + m->n_shown, m->n_held);
    }
    m->n_shown = 0;
    if (n > m->capacity - m->n_held) {
        size_t capacity = (m->n_held + n) * 2;
        char *held = realloc(m->held, capacity);
        if (!held) {
            return error_set(err, "out of memory for %zu bytes of text", capacity);
        }
        m->held = held;
        m->capacity = capacity;
    }
    if (n > 0) {
        memcpy(m->held + m->n_held, text, n);
    }
    m->n_held += n;
    return 0;
}

/* Shows the first n of the held bytes. */
static void show(struct stop_matcher *m, size_t n, const char **out, size_t *n_out)
{
    *out = m->held;
    *n_out = n;
    m->n_shown = n;
    m->n_held -= n;
}

int stop_put(struct stop_matcher *m, const char *text, size_t n, const char **out, size_t *n_out, struct error *err)
{
    *out = NULL;
    *n_out = 0;
    if (m->found) {
        return 1;
    }
    size_t before = m->n_held;
    if (append(m, text, n, err)) {
        return -1;
    }
    for (size_t i = 0; i < n; i++) {
        size_t complete = take_byte(m, text[i]);
        if (complete > 0) {
            m->found = 1;
            show(m, before + i + 1 - complete, out, n_out);
            m->n_held = 0;
            return 1;
        }
    }
    size_t keep = 0;
    for (int i = 0; i < m->n_strings; i++) {
        keep = m->states[i].matched > keep ? m->states[i].matched : keep;
    }
    show(m, m->n_held - keep, out, n_out);
    return 0;
}

void stop_flush(struct stop_matcher *m, const char **out, size_t *n_out)
{
    *out = m->held ? m->held + m->n_shown : NULL;
    *n_out = m->n_held;
    m->n_shown += m->n_held;
    m->n_held = 0;
}
