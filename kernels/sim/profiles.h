/* The profiles in boards/ and links/ as texts inside the program; the build makes the source. SPDX-License-Identifier: MIT */
#ifndef KERNELS_SIM_PROFILES_H
#define KERNELS_SIM_PROFILES_H

struct board_profile {
    const char *name; /* NULL after the last */
    const char *text; /* of NAME.board or NAME.link */
};
extern const struct board_profile board_profiles[], link_profiles[];
extern const char board_profile_names[], link_profile_names[]; /* comma-separated */

#endif
