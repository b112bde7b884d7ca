/* Measured speeds, kept in a folder of the user's between runs. SPDX-License-Identifier: MIT */
#ifndef SRC_PLAN_SPEED_CACHE_H
#define SRC_PLAN_SPEED_CACHE_H

#include <stddef.h>

#include "src/plan/speed.h"

/* "${XDG_CACHE_HOME:-~/.cache}/llm/speed/<hash of the key>.json"; -1 when there is no such place. */
int speed_cache_path(const char *key, char *path, size_t size);

/* 1 and *out when there are figures for exactly this key, else 0: a file that is not as speed_cache_save writes it counts as
 * none. */
int speed_cache_load(const char *path, const char *key, struct speed *out);
/* Makes the folders and replaces the file at once; a failure is no error: the next run measures again. */
void speed_cache_save(const char *path, const char *key, const struct speed *speed);

#endif
