# Folders that all users of the image may read.
_source=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export COURSE_CACHE="$_source/cache" MPLCONFIGDIR="$_source/cache/matplotlib" PYTHONDONTWRITEBYTECODE=1
mkdir -p "$MPLCONFIGDIR"
