#!/bin/sh
# Makes or refreshes .venv from the hash-locked requirements: venv.sh [base|dev|fuzz]   (default base)
#
# Kept as it is when its stamp fits the locks, its python and this directory; else brought up to date, and made anew
# only when it does not run. Uses $PYTHON, else python3 of PATH, else /usr/bin/python3; needs 3.11 or later.
# Nothing is built: wheels only. The project itself runs from the source tree (a .pth file and two launchers).
set -eu
cd "$(dirname "$0")/.."
want=${1:-base}

fail() {
    echo "$1" >&2
    exit 1
}

modern() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 || fail "PYTHON=$PYTHON is missing: name a python3 of 3.11 or later"
        modern "$PYTHON" || fail "PYTHON=$PYTHON does not run as python 3.11 or later"
        echo "$PYTHON"
        return
    fi
    for candidate in python3 /usr/bin/python3 python3.13 python3.12 python3.11; do
        if command -v "$candidate" >/dev/null 2>&1 && modern "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    command -v python3 >/dev/null 2>&1 || fail "python3 is missing: apt install python3 python3-venv"
    fail "python3 is older than 3.11 or does not run: install python 3.11 or later, or name one with PYTHON="
}

healthy() {
    [ -x .venv/bin/python ] && modern .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1
}

same_as_asked() { # an explicit PYTHON= of another version means another environment
    [ -z "${PYTHON:-}" ] || [ "$(.venv/bin/python -V 2>&1)" = "$("$PYTHON" -V 2>&1)" ]
}

key() {
    { cat requirements/venv.sh "$@"; pwd; .venv/bin/python -VV; } 2>/dev/null | sha256sum | cut -d' ' -f1
}

# A path may hold spaces or be long, so /bin/sh reads the first two lines and python all of it. -I: no PYTHONPATH or
# PYTHONHOME of whoever calls it, root perhaps, puts other code in its place.
launcher() { # name module function
    cat >".venv/bin/$1" <<LAUNCHER
#!/bin/sh
'''exec' "$(cd -P .venv/bin && pwd)/python" -I "\$0" "\$@"
' '''
import sys

from $2 import $3

sys.exit($3())
LAUNCHER
    chmod 755 ".venv/bin/$1"
}

install() { # lock: only wheels, only with the hashes of the lock
    .venv/bin/python -m pip install --quiet --quiet --no-input --disable-pip-version-check --no-warn-script-location \
        --require-hashes --only-binary :all: -r "$1" ||
        fail "could not install $1 into .venv: see above (a package registry must be reachable the first time)"
}

bytecode() { # compiled once, here: who runs clusterctl later may not write it, and without it takes twice the time
    [ ! -w clusterd ] || .venv/bin/python -m compileall -q clusterd cfs quorum transport
}

case $want in
base) locks="requirements/base.lock" ;;
dev) locks="requirements/base.lock requirements/dev.lock" ;;
fuzz) locks="requirements/base.lock requirements/dev.lock requirements/fuzz.lock" ;;
*) fail "usage: requirements/venv.sh [base|dev|fuzz]" ;;
esac

if command -v flock >/dev/null 2>&1; then # two makes at once take turns
    exec 9<requirements
    flock 9
fi
stamp=.venv/stamp-$want
# shellcheck disable=SC2086  the locks are two plain names
if healthy && same_as_asked; then
    if [ "$(cat "$stamp" 2>/dev/null)" = "$(key $locks)" ]; then
        bytecode
        exit 0
    fi
else
    python=$(find_python)
    "$python" -c 'import venv, ensurepip' 2>/dev/null || fail "python3-venv is missing: apt install python3-venv"
    echo "making .venv with $("$python" -V)" >&2
    "$python" -m venv --clear .venv || fail "could not make .venv here: see above"
fi
[ -w .venv ] || fail ".venv belongs to another user: remove it, or use a clone of your own"
echo "installing the locked requirements ($want) into .venv" >&2
for lock in $locks; do
    install "$lock"
done
# Relative to site-packages: python reads the file in the encoding of the locale, which may not know this path's letters.
(cd .venv/lib/python3.*/site-packages && echo ../../../.. >clusterd-source.pth)
launcher clusterd clusterd.__main__ main
launcher clusterctl clusterd.cli.main run
bytecode
# shellcheck disable=SC2086
key $locks >"$stamp"
