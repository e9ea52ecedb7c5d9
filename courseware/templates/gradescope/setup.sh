#!/usr/bin/env bash
# Run once by Gradescope, when the image of this autograder is built: Python, packages, the course model, and a trial.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
. "$here/settings.sh"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get install -y -q bubblewrap procps util-linux

suits() { command -v "$1" > /dev/null && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; }
python=
for found in python3.13 python3.12 python3.11 python3; do
    if suits "$found"; then python=$found; break; fi
done
for wanted in python3.12 python3.11; do
    if [ -z "$python" ] && apt-get install -y -q "$wanted" "$wanted-venv" && suits "$wanted"; then python=$wanted; fi
done
if [ -z "$python" ]; then
    echo "This image has no Python 3.11 or newer. In Gradescope choose Ubuntu 22.04 or newer as the base image." >&2
    exit 1
fi

cd "$here/course"
"$python" start.py fetch
.venv/bin/python -m courseware.grading.gradescope prepare "$here"

# What a submission may read: Python, its packages, the model. Not the solution, not the tests.
chmod 711 "$here" "$here/course"
chmod -R go-rwx "$here/course/chapters" "$here/course/courseware" "$here/prepared"
chmod -R go+rX "$here/course/.venv" "$here/course/course_utils" "$COURSE_CACHE" "$MPLCONFIGDIR"
