/* SHA-256 of a buffer, for comparing long results with published sums. SPDX-License-Identifier: MIT
 *
 * Source: FIPS 180-4. The constants are the fractional parts of the square and cube roots of the first primes. */
#ifndef TESTS_TOKENIZER_SHA256_H
#define TESTS_TOKENIZER_SHA256_H

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

static inline uint32_t sha256_rotate(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static inline void sha256_block(uint32_t state[8], const uint32_t constants[64], const uint8_t *block)
{
    uint32_t w[64], s[8];
    for (int i = 0; i < 16; i++) {
        w[i] = (uint32_t)block[4 * i] << 24 | (uint32_t)block[4 * i + 1] << 16 | (uint32_t)block[4 * i + 2] << 8 |
               block[4 * i + 3];
    }
    for (int i = 16; i < 64; i++) {
        uint32_t a = w[i - 15], b = w[i - 2];
        w[i] = w[i - 16] + (sha256_rotate(a, 7) ^ sha256_rotate(a, 18) ^ a >> 3) + w[i - 7] +
               (sha256_rotate(b, 17) ^ sha256_rotate(b, 19) ^ b >> 10);
    }
    memcpy(s, state, sizeof s);
    for (int i = 0; i < 64; i++) {
        uint32_t t1 = s[7] + (sha256_rotate(s[4], 6) ^ sha256_rotate(s[4], 11) ^ sha256_rotate(s[4], 25)) +
                      ((s[4] & s[5]) ^ (~s[4] & s[6])) + constants[i] + w[i];
        uint32_t t2 = (sha256_rotate(s[0], 2) ^ sha256_rotate(s[0], 13) ^ sha256_rotate(s[0], 22)) +
                      ((s[0] & s[1]) ^ (s[0] & s[2]) ^ (s[1] & s[2]));
        memmove(s + 1, s, 7 * sizeof s[0]);
        s[4] += t1;
        s[0] = t1 + t2;
    }
    for (int i = 0; i < 8; i++) {
        state[i] += s[i];
    }
}

static inline uint32_t sha256_fraction(long double root)
{
    return (uint32_t)((root - floorl(root)) * 4294967296.0L);
}

static inline void sha256_hex(const void *bytes, size_t n, char out[65])
{
    uint32_t state[8], constants[64];
    for (int found = 0, p = 2; found < 64; p++) {
        int prime = 1;
        for (int d = 2; d * d <= p; d++) {
            prime &= p % d != 0;
        }
        if (prime) {
            if (found < 8) {
                state[found] = sha256_fraction(sqrtl((long double)p));
            }
            constants[found++] = sha256_fraction(cbrtl((long double)p));
        }
    }
    const uint8_t *data = bytes;
    size_t whole = n / 64;
    for (size_t i = 0; i < whole; i++) {
        sha256_block(state, constants, data + 64 * i);
    }
    uint8_t last[128] = {0};
    size_t rest = n - 64 * whole, padded = rest < 56 ? 64 : 128;
    memcpy(last, data + 64 * whole, rest);
    last[rest] = 0x80;
    for (int i = 0; i < 8; i++) {
        last[padded - 1 - (size_t)i] = (uint8_t)((uint64_t)n * 8 >> (8 * i));
    }
    for (size_t at = 0; at < padded; at += 64) {
        sha256_block(state, constants, last + at);
    }
    for (int i = 0; i < 8; i++) {
        snprintf(out + 8 * i, 9, "%08x", (unsigned)state[i]);
    }
}

#endif
