/* Tests that something kills the program with a line that says why. SPDX-License-Identifier: MIT */
#ifndef TESTS_CUDA_HOST_DEATHS_H
#define TESTS_CUDA_HOST_DEATHS_H

#include "tests/check.h"

#include <string>
#include <sys/wait.h>
#include <unistd.h>

/* What a child that calls action writes to standard error; *died: it did not end well. */
static inline std::string last_words(void (*action)(void), bool *died)
{
    int ends[2];
    if (pipe(ends) != 0) {
        return "no pipe";
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        close(ends[0]);
        action();
        _exit(0);
    }
    close(ends[1]);
    std::string words;
    char text[4096];
    for (ssize_t n; (n = read(ends[0], text, sizeof text)) > 0;) {
        words.append(text, (size_t)n);
    }
    close(ends[0]);
    int status;
    waitpid(child, &status, 0);
    *died = !WIFEXITED(status) || WEXITSTATUS(status) != 0;
    return words;
}

/* The child dies and says one of both; the sanitizer's word is another one than ours. */
#define CHECK_DIES(action, words, sanitizers_words)                                                               \
    do {                                                                                                          \
        bool died_;                                                                                               \
        std::string found_ = last_words(action, &died_);                                                          \
        CHECK_THAT(died_, "%s lives on", #action);                                                                \
        CHECK_THAT(found_.find(words) != std::string::npos || found_.find(sanitizers_words) != std::string::npos, \
                   "%s says \"%s\", expected \"%s\"", #action, found_.substr(0, 500).c_str(), words);             \
    } while (0)

#endif
