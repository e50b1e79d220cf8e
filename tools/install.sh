#!/bin/sh
# Makes a virtual environment: tools/install.sh FOLDER [WHAT...], where WHAT is for pip, and by default the project with
# its `dev` extra, as every `make` target uses it. The Dockerfile asks for less.
#
# A Linux machine without an NVIDIA GPU gets the CPU build of torch, which saves gigabytes, from torch's own index where
# that can be reached. uv knows where the index is. Only the question whether it can be reached has a short limit: the
# download has none, so that a slow line is not cut off.
set -eu

venv=$1
shift
[ $# -gt 0 ] && for_tests= || for_tests=yes
[ $# -gt 0 ] || set -- -e '.[dev]'
python=${PYTHON:-python3}

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

check_python() {
    command -v "$python" >/dev/null || fail "There is no $python: install Python 3.11 or newer, or say which one to use" \
        "with \`make install PYTHON=python3.11\`."
    new_enough "$python" || fail "$python is $("$python" --version 2>&1), and Parecido needs Python 3.11 or newer: say" \
        "which one to use with \`make install PYTHON=python3.11\`."
    "$python" -c 'import ensurepip, venv' 2>/dev/null || fail "$python cannot make virtual environments: its venv" \
        "module is missing. On Debian and Ubuntu: apt install python3-venv."
}

pip_install() {
    "$venv/bin/python" -m pip install -q --disable-pip-version-check -c constraints.txt "$@"
}

has_gpu() {
    [ -e /dev/nvidia0 ] || nvidia-smi >/dev/null 2>&1
}

has_torch() {
    "$venv/bin/python" -c 'from importlib.metadata import version; version("torch")' 2>/dev/null
}

install_torch_for_cpu() {
    torch=$(grep '^torch==' constraints.txt)
    uv=$(command -v uv) || { pip_install uv && uv=$venv/bin/uv; } || return 1
    set -- "$uv" pip install -q --no-config --python "$venv/bin/python" --torch-backend=cpu --no-deps "$torch"
    UV_HTTP_CONNECT_TIMEOUT=5 UV_HTTP_TIMEOUT=10 UV_HTTP_RETRIES=0 timeout 30 "$@" --dry-run >/dev/null 2>&1 || return 1
    echo "Fetching the CPU build of torch (about 200 MB) ..."
    UV_HTTP_TIMEOUT=300 "$@"
}

# The tests count tokens with the vocabulary of OpenAI's models, which is in this package; nothing else of it is wanted.
fetch_vocabulary() {
    name=9b5ad71b2ce5302211f9c61530b329a4922fc6a4
    [ ! -e "$venv/share/tiktoken/$name" ] || return 0
    package=$(mktemp -d)
    "$venv/bin/python" -m pip download -q --disable-pip-version-check --no-deps --only-binary :all: -d "$package" \
        litellm==1.110.2
    mkdir -p "$venv/share/tiktoken"
    "$venv/bin/python" - "$package" "$venv/share/tiktoken/$name" <<'END'
import pathlib, sys, zipfile
package, target = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(next(package.glob("*.whl"))) as wheel:
    name = next(name for name in wheel.namelist() if name.endswith("/" + target.name))
    target.write_bytes(wheel.read(name))
END
    rm -r "$package"
}

if ! new_enough "$venv/bin/python"; then
    check_python
    echo "Making $venv with $("$python" --version) ..."
    "$python" -m venv --clear "$venv"
fi
if [ "$(uname -s)" = Linux ] && ! has_gpu && ! has_torch; then
    install_torch_for_cpu || echo "The CPU build of torch cannot be had from torch's own index; pip brings the one it finds."
fi
echo "Installing Parecido and what it needs (some minutes the first time) ..."
pip_install "$@"
[ -z "$for_tests" ] || fetch_vocabulary
