/* Pages of a mapped file that are read once: asked for before, let go after. SPDX-License-Identifier: MIT */
#ifndef KERNELS_FILE_PAGES_H
#define KERNELS_FILE_PAGES_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Asks for the pages that hold n bytes, so that they come while something else is done. */
void file_pages_want(const void *data, size_t n);
/* Lets go of the pages that lie whole in n bytes. */
void file_pages_drop(const void *data, size_t n);

#ifdef __cplusplus
}
#endif
#endif
