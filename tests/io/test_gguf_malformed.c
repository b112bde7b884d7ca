/* The verdicts of the reference reader on its own set of broken files. SPDX-License-Identifier: MIT */
#include "io/gguf.h"

#include "tests/check.h"
#include "tests/io/gguf_bytes.h"

int main(void)
{
    const char *folder = check_shared_data();
    char path[1024], line[512], name[256], verdict[8];
    snprintf(path, sizeof path, "%s/gguf-malformed/EXPECTED.tsv", folder);
    FILE *list = fopen(path, "r");
    if (!list) {
        fprintf(stderr, "skipped: no %s\n", path);
        return 77;
    }
    int n = 0;
    while (fgets(line, sizeof line, list)) {
        if (line[0] == '#' || sscanf(line, "%255s %7s", name, verdict) != 2) {
            continue;
        }
        struct gguf file;
        struct error err = {""};
        snprintf(path, sizeof path, "%s/gguf-malformed/%s", folder, name);
        int rc = gguf_open(&file, path, &err);
        CHECK_THAT((rc == 0) == (strcmp(verdict, "yes") == 0), "%s gave %d (%s), expected to load: %s", name, rc, err.text,
                   verdict);
        CHECK_THAT(rc == 0 || strncmp(err.text, path, strlen(path)) == 0, "message without the path: %s", err.text);
        if (rc == 0) {
            gguf_visit(&file);
        }
        gguf_close(&file);
        n++;
    }
    fclose(list);
    CHECK_INT(n, 17);
    return check_result();
}
