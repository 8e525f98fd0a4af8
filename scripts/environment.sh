# Creates .venv with the tested versions of all packages and prepends it to PATH. Other scripts source this file with the
# optional extras as argument: `. scripts/environment.sh dev,docs`.

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$0: $python is not Python 3.11 or newer; set PYTHON to one that is" >&2
    exit 2
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
PATH=$PWD/.venv/bin:$PATH
extras=${1:+[$1]}
# Python compiles the modules that it imports and keeps them; pip would compile ten times as many.
unset PYTHONDONTWRITEBYTECODE
required=$(cat constraints.txt pyproject.toml setup.py nmt/native/*.[ch]; echo "$extras")
# The network is not used if the environment was installed from the same files.
if [ "$(cat .venv/installed 2>/dev/null)" != "$required" ]; then
    echo "installing into .venv" >&2
    python -m pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt -e ".$extras" >&2
    printf '%s' "$required" > .venv/installed
fi
