/* What a machine's mode says, from folders that look like /proc and /sys. SPDX-License-Identifier: MIT */
#include "src/cluster/machine_mode.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/check.h"

static char folder[] = "/tmp/machine_mode_XXXXXX";

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    (void)status;
    (void)type;
    (void)where;
    return remove(path);
}

static void put(const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s%s", folder, name);
    for (char *slash = strchr(path + sizeof folder, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *f = fopen(path, "w");
    CHECK_THAT(f != NULL, "%s cannot be written", path);
    if (f) {
        fputs(text, f);
        fclose(f);
    }
}

int main(void)
{
    char text[1024], before[1024], small[24];
    if (!mkdtemp(folder)) {
        perror(folder);
        return 1;
    }
    machine_mode_text(folder, text, sizeof text);
    CHECK_TEXT(text, "");
    put("/proc/cpuinfo", "processor\t: 0\nBogoMIPS\t: 62.50\nCPU part\t: 0xd42\n\nprocessor\t: 1\nCPU part\t: 0xd42\n");
    put("/proc/device-tree/model", "NVIDIA Jetson Orin NX\n");
    put("/sys/devices/system/cpu/online", "0-3\n");
    put("/sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "schedutil\n");
    put("/sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq", "1984000\n");
    put("/sys/class/devfreq/17000000.gpu/max_freq", "918000000\n");
    put("/var/lib/nvpmodel/status", "pmode:0000\n");
    machine_mode_text(folder, text, sizeof text);
    CHECK_TEXT(text,
               "cpu 0xd42; board NVIDIA Jetson Orin NX; cpus 0-3; governor schedutil; max kHz 1984000; power mode pmode:0000; "
               "gpu max 918000000; ");
    memcpy(before, text, sizeof before);
    put("/var/lib/nvpmodel/status", "pmode:0002\n");
    machine_mode_text(folder, text, sizeof text);
    CHECK_THAT(strcmp(text, before) != 0, "another power mode, the same text: %s", text);
    machine_mode_text(folder, small, sizeof small);
    CHECK_TEXT(small, "cpu 0xd42; cpus 0-3; ");
    machine_mode_text("", text, sizeof text); /* this machine */
    CHECK_THAT(strstr(text, "cpus ") != NULL, "%s", text);
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return check_result();
}
