# shellcheck shell=bash
# A Python environment in .test/ with what scripts/requirements.txt names.

PYTHON_ENVIRONMENT="$PWD/.test/python"
PYTHON_BIN="$PYTHON_ENVIRONMENT/bin"
export GAMESHELF_TEST_PYTHON="$PYTHON_BIN/python"

python_install() {
  local wanted=scripts/requirements.txt installed="$PYTHON_ENVIRONMENT/requirements.txt"
  if [[ -x "$GAMESHELF_TEST_PYTHON" ]] && cmp -s "$wanted" "$installed"; then
    return
  fi
  # Debian has the module without the parts that make an environment usable, in a package of its own.
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    need_packages python3 python3-venv
  fi
  rm -rf "$PYTHON_ENVIRONMENT"
  python3 -m venv "$PYTHON_ENVIRONMENT"
  "$PYTHON_BIN/pip" install --quiet --disable-pip-version-check --requirement "$wanted"
  cp "$wanted" "$installed"
}
