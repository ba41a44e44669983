#!/bin/sh
# Runs @PROGRAM@ with the packages that lie beside it. It needs nothing but a Python of @OLDEST@ to @NEWEST@:
# the one that DISAGG_PYTHON names, or the first that fits.
set -eu
program=$0
# kubectl's plugin managers put a link on the PATH. Not `readlink -f`, which older macOS has not.
while [ -L "$program" ]; do
  target=$(readlink "$program")
  case $target in
    /*) program=$target ;;
    *) program=$(dirname -- "$program")/$target ;;
  esac
done
home=$(CDPATH='' cd -- "$(dirname -- "$program")" && pwd)
for python in ${DISAGG_PYTHON:-python3 @NAMES@}; do
  # Isolated from the user's other packages, which may be of other versions.
  if "$python" -I -S -c 'import sys; sys.exit(not @RANGE@)' 2>/dev/null; then
    exec "$python" -I -S "$home/lib/@MODULE@" "$@"
  fi
done
echo "@PROGRAM@: no Python @OLDEST@ to @NEWEST@ was found. Install one, or name it: DISAGG_PYTHON=/path/to/python3" >&2
exit 1
