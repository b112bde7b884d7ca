/* The hop protocol: batches round the ring, buffers, the divided head, the stop message. SPDX-License-Identifier: MIT
 *
 * Models src/engine/stage.c, stage_head.c, src/cluster/link.c and mail.c as they meet. P ranks, D batches in flight, N batches in
 * all; HEAD = 1: every rank owns a part of the head.
 *
 * - A message of the ring leaves its buffer only into a posted receive (the network keeps nothing: the worst case), and the sender
 *   learns of it any time later. Letters are taken as they come.
 * - Rank 0: D + 1 buffers wait for batches to come home, D are filled and sent. Other ranks: D + 1, all posted; one is posted
 *   again when nothing reads it any more: the ring's send, letters to the other owners, the last rank's own part of the head.
 * - The last rank sends the hidden of a batch that wants tokens to the owners between, each of which answers rank 0. Rank 0
 *   finishes its oldest batch when its own part is done and all answers are there.
 *
 * Checked: no end but the one meant (no deadlock), everything comes home in order, no more buffers, receives, letters or parts in
 * use than there are, and all of them back at the end. */
#ifndef P
#define P 3
#endif
#ifndef D
#define D 2
#endif
#ifndef N
#define N (D + 2 - HEAD)
#endif
#ifndef HEAD
#define HEAD 0
#endif
#define LAST (P - 1)
#define RANKS 4 /* most */
#ifndef PARTS
#define PARTS (D + 1) /* of the head that an owner can work on */
#endif
/* QUICK = 1: fewer steps, for the divided head: computing and a ring send's completion are one step with the receive. */
#ifndef QUICK
#define QUICK HEAD
#endif
/* LATE = 0: an owner knows that an answer's send is through as soon as rank 0 has it, as with messages that the network takes at
 * once; LATE = 1: it learns of it any time later, so that hidden for the next part may have to wait. */
#ifndef LATE
#define LATE 0
#endif
/* The oldest batch is home and has its answers. */
#define ANSWERED(rank) (P <= rank || nempty(got[rank]))
#define COMPLETE (nempty(own) && (!wants[next_home] || (ANSWERED(1) && ANSWERED(2) && ANSWERED(3))))
#define STOP 0 /* batches are 1 .. N */

chan wire[RANKS] = [D + 2] of {byte}   /* from this rank to the next: sends that wait for a receive */
chan left[RANKS] = [D + 2] of {byte}   /* sends that are through, not known to the sender yet */
byte posted[RANKS];                    /* receives */
chan inside[RANKS] = [D + 2] of {byte} /* received, not computed */

bool wants[N + 1];                 /* the batch wants tokens */
chan letters[RANKS] = [N + 1] of {byte} /* hidden for this owner, on the way */
chan parts[RANKS] = [D + 3] of {byte}  /* of the head, to be computed by this owner */
byte n_parts[RANKS];                   /* in use: until the answer's send is known to be through */
chan asked = [N + 1] of {byte}         /* the last rank's own parts that wait for a free one */
chan answers[RANKS] = [D + 3] of {byte} /* from this owner, on the way */
chan answered[RANKS] = [N + 1] of {byte} /* sends of answers that are through, not known yet */
chan letter_left = [N * P + 1] of {byte} /* letters of the last rank that are through, not known yet */
byte held[N + 1];                  /* what still reads the last rank's buffer of a batch */

chan got[RANKS] = [D + 3] of {byte}    /* rank 0: answers of this owner */
chan own = [D + 2] of {byte}       /* rank 0: batches that are home and whose own part is done */
byte n_idle, n_in_flight, next_batch = 1, next_home = 1, n_ended;

/* One reader of the last rank's buffer fewer. */
inline let_go(batch) {
    assert(held[batch] > 0);
    held[batch]--;
    if
    :: held[batch] == 0 -> posted[LAST]++
    :: else
    fi
}

/* A ring send of rank `from` is through. */
inline sent(from, batch) {
    if
    :: !QUICK -> left[from]!batch
    :: QUICK && from == 0 -> n_idle++
    :: QUICK && from == LAST && batch != STOP -> let_go(batch)
    :: QUICK && from > 0 && batch == STOP -> left[from]!batch
    :: else -> posted[from]++
    fi
}

inline spread(batch) {
    held[batch] = 1;
    if
    :: HEAD && wants[batch] ->
        o = 1;
        do
        :: o < LAST -> letters[o]!batch; held[batch]++; o++
        :: else -> break
        od;
        held[batch]++;
        asked!batch
    :: else
    fi
}

proctype stage(byte r)
{
    byte b, o;
    bool leaving = false;
    posted[r] = D + 1;
    do
    /* receive */
    :: atomic { posted[r] > 0 && nempty(wire[r - 1]) ->
        wire[r - 1]?b; posted[r]--;
        sent(r - 1, b);
        assert(len(inside[r]) + len(wire[r]) <= D);
        if
        :: QUICK && r != LAST -> wire[r]!b
        :: else -> inside[r]!b
        fi }
    /* compute and send */
    :: atomic { nempty(inside[r]) ->
        inside[r]?b;
        if
        :: r == LAST && b != STOP -> spread(b)
        :: else
        fi;
        assert(len(wire[r]) + len(left[r]) <= D);
        wire[r]!b }
    /* the ring's send is through */
    :: atomic { nempty(left[r]) ->
        left[r]?b;
        if
        :: b == STOP -> leaving = true
        :: b != STOP && r == LAST -> let_go(b)
        :: else -> posted[r]++
        fi }
    /* parts of the head */
    :: atomic { nempty(letters[r]) && n_parts[r] < PARTS ->
        letters[r]?b; n_parts[r]++;
        assert(n_parts[r] <= PARTS);
        if
        :: QUICK -> let_go(b); answers[r]!b
        :: else -> letter_left!b; parts[r]!b
        fi }
    :: atomic { r == LAST && nempty(asked) && n_parts[r] < PARTS -> asked?b; n_parts[r]++; assert(n_parts[r] <= PARTS); parts[r]!b }
    :: atomic { r == LAST && nempty(letter_left) -> letter_left?b; let_go(b) }
    :: atomic { nempty(parts[r]) ->
        parts[r]?b;
        if
        :: r == LAST -> let_go(b)
        :: else
        fi;
        answers[r]!b }
    :: atomic { nempty(answered[r]) -> answered[r]?b; n_parts[r]-- }
    :: atomic { leaving && empty(answered[r]) && (r != LAST || empty(letter_left)) ->
        assert(posted[r] == D && n_parts[r] == 0 && empty(inside[r]) && empty(wire[r]) && empty(letters[r]) && empty(answers[r]));
        n_ended++;
        break }
    od
}

inline take_answer(rank) {
    answers[rank]?b;
    if
    :: LATE -> answered[rank]!b
    :: else -> n_parts[rank]--
    fi;
    assert(len(got[rank]) <= D);
    got[rank]!b
}

active proctype home()
{
    byte b, o;
    atomic {
        posted[0] = D + 1;
        n_idle = D;
        o = 1;
        do
        :: o < P -> run stage(o); o++
        :: else -> break
        od
    }
    do
    /* fill and send; while no buffer is free only completed sends are looked for */
    :: n_in_flight < D && next_batch <= N ->
        do
        :: atomic { n_idle == 0 -> left[0]?b; n_idle++ }
        :: n_idle > 0 -> break
        od;
        atomic {
            if
            :: HEAD -> wants[next_batch] = true
            :: wants[next_batch] = false
            fi;
            n_idle--; n_in_flight++;
            assert(len(wire[0]) + len(left[0]) <= D);
            wire[0]!next_batch;
            next_batch++
        }
    :: atomic { nempty(left[0]) -> left[0]?b; n_idle++; assert(n_idle <= D) }
    /* home */
    :: atomic { posted[0] > 0 && nempty(wire[LAST]) ->
        wire[LAST]?b; posted[0]--;
        sent(LAST, b);
        if
        :: b == STOP -> break
        :: else -> assert(len(inside[0]) <= D); inside[0]!b
        fi }
    :: atomic { nempty(inside[0]) -> inside[0]?b; own!b } /* the own part */
    :: atomic { nempty(answers[1]) -> take_answer(1) }
    :: atomic { nempty(answers[2]) -> take_answer(2) }
    :: atomic { nempty(answers[3]) -> take_answer(3) }
    /* finished: in the caller's hands and given back */
    :: atomic { COMPLETE ->
        own?b;
        assert(b == next_home);
        next_home++;
        o = 1;
        do
        :: wants[b] && o < P -> got[o]?eval(b); o++
        :: else -> break
        od;
        n_in_flight--; posted[0]++;
        assert(posted[0] <= D + 1) }
    /* stop */
    :: atomic { next_home == N + 1 && n_in_flight == 0 && n_idle > 0 && next_batch == N + 1 ->
        next_batch++; n_idle--; wire[0]!STOP }
    od;
    /* all ranks leave, all buffers are there */
    n_ended == P - 1;
    do
    :: atomic { nempty(left[0]) -> left[0]?b; n_idle++ }
    :: empty(left[0]) -> break
    od;
    assert(n_idle == D && posted[0] == D && n_in_flight == 0 && empty(own) && empty(inside[0]));
    o = 1;
    do
    :: o < P -> assert(empty(got[o])); o++
    :: else -> break
    od
}
