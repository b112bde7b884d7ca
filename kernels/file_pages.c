/* SPDX-License-Identifier: MIT */
#include "kernels/file_pages.h"

#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

void file_pages_want(const void *data, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data, begin = at / page * page;
    if (n > 0) {
        madvise((void *)begin, at + n - begin, MADV_WILLNEED);
    }
}

void file_pages_drop(const void *data, size_t n)
{
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), at = (uintptr_t)data;
    uintptr_t begin = (at + page - 1) / page * page, end = (at + n) / page * page;
    if (end > begin) {
        madvise((void *)begin, end - begin, MADV_DONTNEED);
    }
}
