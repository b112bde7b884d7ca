#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# Runs a command in the folder FOLDER/RANK, so that the same relative path is another file on every rank.
#   mpirun -np 2 in_rank_folder.sh FOLDER COMMAND...
cd "$1/${OMPI_COMM_WORLD_RANK:-0}" || exit 1
shift
exec "$@"
