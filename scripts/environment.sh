# Makes .venv with the tested versions of everything and puts it on PATH. Sourced by other scripts,
# with the extras to install as its arguments: `. scripts/environment.sh dev`.

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    echo "$0: $python is not Python 3.11 or newer; set PYTHON to one that is" >&2
    exit 2
fi
[ -x .venv/bin/python ] || "$python" -m venv .venv
PATH=$PWD/.venv/bin:$PATH
extras=${1:+[$1]}
wanted=$(cat constraints.txt pyproject.toml; echo "$extras")
# Nothing is asked of the network when the environment is already what these files say.
if [ "$(cat .venv/installed 2>/dev/null)" != "$wanted" ]; then
    echo "installing into .venv" >&2
    python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".$extras" >&2
    printf '%s' "$wanted" > .venv/installed
fi
