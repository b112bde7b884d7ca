/* Process 1 of the emulated machine of run.sh: runs the commands below on the serial line and switches the machine off.
 * SPDX-License-Identifier: MIT */
#include <fcntl.h>
#include <stdio.h>
#include <sys/io.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { SHUTDOWN_PORT = 0x8900, MAX_ARGS = 5 };

static char *const commands[][MAX_ARGS + 1] = {
    {"/check_kernels", "--isa", "avx512novnni"},
    {"/check_kernels", "--isa", "avx512"},
    {"/check_kernels", "--isa", "avx512novnni", "--seed", "7"},
    {"/check_kernels", "--isa", "avx512", "--seed", "7"},
    {"/check_kernels", "--isa", "auto"},
    {"/kernel_hash", "scalar", "avx2", "avx512novnni", "avx512"},
};

/* Exit status, or -1. */
static int run(char *const *command)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        execv(command[0], command);
        _exit(127);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return -1;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Bochs ends when the word arrives at its port; what the kernel's own way does depends on its ACPI tables. */
static void switch_off(void)
{
    if (ioperm(SHUTDOWN_PORT, 1, 1) == 0) {
        for (const char *c = "Shutdown"; *c; c++) {
            outb((unsigned char)*c, SHUTDOWN_PORT);
        }
    }
    reboot(RB_POWER_OFF);
}

int main(void)
{
    int n_failed = 0;
    mkdir("/dev", 0755);
    if (mount("devtmpfs", "/dev", "devtmpfs", 0, NULL) != 0) {
        switch_off();
    }
    int serial = open("/dev/ttyS0", O_RDWR);
    for (int fd = 0; fd < 3; fd++) {
        dup2(serial, fd);
    }
    setvbuf(stdout, NULL, _IONBF, 0);
    printf("avx512f %d, avx512bw %d, avx512vl %d, avx512dq %d, avx512vnni %d\n", !!__builtin_cpu_supports("avx512f"),
           !!__builtin_cpu_supports("avx512bw"), !!__builtin_cpu_supports("avx512vl"), !!__builtin_cpu_supports("avx512dq"),
           !!__builtin_cpu_supports("avx512vnni"));
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        int status = run(commands[i]);
        if (status != 0) {
            printf("%s %s: exit status %d\n", commands[i][0], commands[i][2], status);
            n_failed++;
        }
    }
    printf("init: %d commands failed\n", n_failed);
    tcdrain(1);
    sync();
    switch_off();
    return 0;
}
