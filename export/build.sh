#!/bin/sh
# Builds sample_png.c against the TensorFlow of the Python in use: sh export/build.sh [OUTPUT]
# Environment: PYTHON (default: python, else python3), CC (default: cc), CFLAGS.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
output=${1:-$here/sample_png}
python=${PYTHON:-$(command -v python || command -v python3 || true)}
compiler=${CC:-cc}

fail() {
    echo "build.sh: $1" >&2
    exit 2
}

[ -n "$python" ] || fail "there is no python; set PYTHON to the one that has TensorFlow."
command -v "$compiler" >/dev/null || fail "there is no compiler '$compiler'; install it or set CC."
# find_spec looks the package up without importing it, which would take seconds.
tensorflow=$("$python" -c '
import importlib.util
spec = importlib.util.find_spec("tensorflow")
print(spec.submodule_search_locations[0] if spec else "")')
[ -n "$tensorflow" ] || fail "'$python' has no TensorFlow; activate its environment or set PYTHON."
for library in libtensorflow_cc.so.2 libtensorflow_framework.so.2; do
    [ -f "$tensorflow/$library" ] ||
        fail "there is no $tensorflow/$library; install TensorFlow for Linux."
done

# shellcheck disable=SC2086  # CFLAGS is a list.
"$compiler" -std=c99 -O2 -Wall -Wextra ${CFLAGS:-} -isystem "$tensorflow/include" \
    "$here/sample_png.c" -o "$output" \
    "$tensorflow/libtensorflow_cc.so.2" "$tensorflow/libtensorflow_framework.so.2" \
    "-Wl,-rpath,$tensorflow"
echo "$output"
