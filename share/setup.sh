# Sourced by quickstart.sh and test.sh: sets up .venv in the checkout, with what $1 names (such as
# ".[dev]"), and activates it. Needs Python 3.11 or newer and gcc; PYTHON names another interpreter.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || {
    echo "Python 3.11 or newer is needed; $python is $("$python" -V 2>&1 || echo missing). Name another with PYTHON=..." >&2
    exit 69
}
command -v gcc >/dev/null || { echo "gcc is needed, to build GPAW" >&2; exit 69; }

if [ ! -x .venv/bin/pip ]; then
    # Some distributions split ensurepip off; virtualenv brings its own pip.
    "$python" -m venv .venv 2>/dev/null || {
        rm -rf .venv
        "$python" -m pip install --quiet --target .venv/bootstrap virtualenv
        PYTHONPATH=.venv/bootstrap "$python" -m virtualenv --quiet .venv
    }
fi
. .venv/bin/activate
# One stamp for each extra, so that what asks for fewer of them has nothing to do.
stamps=$(printf '.venv/installed-%s ' checkout $(echo "$1" | tr -c 'a-z\n' ' '))
for stamp in $stamps; do
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ]; then
        echo "Installing into .venv (GPAW is compiled; two to three minutes) ..." >&2
        python -m pip install --quiet --upgrade pip
        # Python compiles what is imported when it is, which is a small part of what libraries have.
        python -m pip install --quiet --no-compile --editable "$1"
        touch $stamps
        break
    fi
done
# Several processes share the cores; threads within each would only get in their way.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
