/* KV pages: who holds, writes and reads them. SPDX-License-Identifier: MIT
 *
 * Models src/engine/pages.c and scheduler_pages.c in small: S sequences of M pages each, G pages in the pool, D batches under way,
 * each with one page of one sequence; a batch is computed, in order, some time after it was made. Sequences 0 and 1 differ in their
 * last page only. Any may be cancelled at any time. A full page can be found by what it holds as soon as the batch that writes it
 * is made; given back it is kept, and found or used for something else later. When no page is left, the youngest sequence gives its
 * own back once nothing of it is under way.
 *
 * Checked: a page is written by the one sequence that took it, while it holds it; what a batch reads through its table is its
 * sequence's own text; no page is lost; no deadlock. */
#ifndef S
#define S 3
#endif
#ifndef M
#define M 2
#endif
#ifndef G
#define G 3
#endif
#ifndef D
#define D 2
#endif
#define NONE 255
/* The sequence's text from its start to the end of its page i; 0 = not known. */
#define TEXT(q, i) ((q < 2 && i < M - 1) -> 1 + i : 10 + 10 * q + i)
#define AT(q, i) table[(q) * M + (i)]

bool is_inside[S], stopped[S]; /* has pages; cancelled or complete */
byte n_pages[S], n_flying[S];  /* pages whose rows are in batches or shared; batches under way */
byte table[S * M];
byte holders[G], known[G], taken_by[G];
byte n_held, n_ended;

chan down = [D] of {byte, byte}; /* sequence, index of the page; its table up to there rides along */
byte batch_table[D * M];         /* of the batches in `down`: a circle */
byte n_made, n_computed;         /* modulo D */
chan up = [D] of {byte};
byte n_out;
byte holds[G]; /* the stages': text in each page */

/* page = one that has the text, or NONE. */
inline find(text) {
    page = 0;
    do
    :: page < G && known[page] != text -> page++
    :: else -> break
    od;
    page = (page == G -> NONE : page)
}

/* page = a free one; when there is none, any kept one, which is forgotten; else NONE. */
inline take() {
    page = 0;
    do
    :: page < G && !(holders[page] == 0 && known[page] == 0) -> page++
    :: else -> break
    od;
    if
    :: page == G ->
        page = 0;
        do
        :: page < G && holders[page] > 0 -> page++
        :: page < G && holders[page] == 0 -> break
        :: page + 1 < G && holders[page] == 0 -> page++ /* the order in which they were given back is not modelled */
        :: page == G -> page = NONE; break
        od
    :: else
    fi
}

inline hold(p) {
    n_held = n_held + (holders[p] == 0 -> 1 : 0);
    holders[p]++
}

inline give_all(who) {
    do
    :: n_pages[who] > 0 ->
        n_pages[who]--;
        page = AT(who, n_pages[who]);
        assert(holders[page] > 0);
        holders[page]--;
        n_held = n_held - (holders[page] == 0 -> 1 : 0);
        AT(who, n_pages[who]) = 0
    :: else -> break
    od;
    is_inside[who] = false
}

inline write_next() {
    known[page] = 0;
    taken_by[page] = q;
    hold(page);
    AT(q, n_pages[q]) = page;
    i = 0;
    do
    :: i <= n_pages[q] -> batch_table[n_made * M + i] = AT(q, i); i++
    :: else -> break
    od;
    n_made = (n_made + 1) % D;
    down!q, n_pages[q];
    n_out++; n_flying[q]++;
    i = page;
    find(TEXT(q, n_pages[q]));
    known[i] = (page == NONE -> TEXT(q, n_pages[q]) : 0); /* found by one page only */
    n_pages[q]++
}

inline make_room() {
    other = S - 1;
    do
    :: !is_inside[other] -> other--
    :: else -> break
    od;
    if
    :: other != q && n_flying[other] == 0 -> give_all(other)
    :: else
    fi
}

/* Nothing can be taken, and the youngest is this one or has something under way. */
#define STUCK (n_held == G && (YOUNGEST(q) || FLYING))
#define YOUNGEST(q) ((q == S - 1 || !is_inside[S - 1]) && (q >= S - 2 || !is_inside[S - 2]))
#define FLYING (is_inside[S - 1] -> n_flying[S - 1] > 0 : n_flying[S - 2] > 0)

proctype sequence(byte q)
{
    byte page, i, other;
    do
    :: atomic { !is_inside[q] && !stopped[q] -> is_inside[q] = true }
    :: atomic { is_inside[q] && !stopped[q] && n_pages[q] < M && n_out < D && !STUCK ->
        find(TEXT(q, n_pages[q]));
        if
        :: page != NONE && n_pages[q] < M - 1 -> hold(page); AT(q, n_pages[q]) = page; n_pages[q]++
        :: else ->
            take();
            if
            :: page != NONE -> write_next()
            :: else -> make_room()
            fi
        fi;
        page = 0; i = 0; other = 0 }
    :: atomic { !stopped[q] && (n_pages[q] < M || n_flying[q] == 0) -> stopped[q] = true } /* cancelled, or complete */
    :: atomic { stopped[q] && n_flying[q] == 0 -> give_all(q); page = 0; n_ended++; break }
    od
}

active proctype stages()
{
    byte q, i, k;
    do
    :: atomic { down?q, i ->
        k = 0;
        do
        :: k < i -> assert(holds[batch_table[n_computed * M + k]] == TEXT(q, k)); k++
        :: else -> break
        od;
        k = batch_table[n_computed * M + i];
        assert(holders[k] > 0 && taken_by[k] == q);
        holds[k] = TEXT(q, i);
        n_computed = (n_computed + 1) % D;
        up!q; q = 0; i = 0; k = 0 }
    :: atomic { up?q -> n_flying[q]--; n_out--; q = 0 }
    :: n_ended == S -> break
    od;
    assert(n_held == 0 && n_out == 0)
}

init
{
    byte q = 0;
    atomic {
        do
        :: q < S -> run sequence(q); q++
        :: else -> break
        od
    }
}
