#!/usr/bin/env bash
# Builds the native modules with address and undefined-behaviour sanitizers, beside the normal ones, and runs the NavMesh
# tests on them: corrupt blobs, spans out of range, broken voxels. Anything found ends the run.
set -euo pipefail
cd "$(dirname "$0")/.."

build=build/sanitize
python=$PWD/.venv/bin/python
cmake -S . -B "$build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_CXX_FLAGS_DEBUG="-O1 -g" -DCOMMONGROUND_SANITIZE=ON \
  -DPython_EXECUTABLE="$python" >"$build.log" 2>&1 || { cat "$build.log" >&2; exit 1; }
cmake --build "$build" --parallel 2

# The interpreter was built without sanitizers: theirs must come first, and what Python itself keeps is no leak of ours.
LD_PRELOAD="$(g++ -print-file-name=libasan.so) $(g++ -print-file-name=libubsan.so) $(g++ -print-file-name=libstdc++.so.6)" \
ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 \
  "$python" -X faulthandler scripts/with_native.py "$build" -q --noconftest -p no:cacheprovider \
  ${@:-tests/navmesh/test_native_fuzz.py tests/navmesh/test_recast.py tests/navmesh/test_spans.py tests/navmesh/test_latch.py}
