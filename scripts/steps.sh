# shellcheck shell=bash
# Says each step and how long it took.

say() {
  printf '== %s\n' "$*"
}

# The step that runs, for the message when it fails.
STEP=""

# step NAME COMMAND...: runs the command in this shell, so that it can set variables. Its failure ends the script.
step() {
  local begin="$SECONDS"
  STEP="$1"
  say "$STEP"
  shift
  # Not as a condition: the shell would then carry on after a failed command of a function.
  "$@"
  say "$STEP: ok, $((SECONDS - begin)) s"
  STEP=""
}

# Says which step failed, when one did; for the script's end.
step_end() {
  if [[ -n "$STEP" ]]; then say "$STEP: FAILED"; fi
}

# need_packages PACKAGE...: installs Debian packages, where that is possible.
need_packages() {
  if ! command -v apt-get >/dev/null; then
    say "these packages are needed, and there is no apt-get to install them: $*"
    return 1
  fi
  local sudo=()
  if [[ "$(id -u)" != 0 ]]; then sudo=(sudo); fi
  say "installing $*"
  "${sudo[@]}" apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${sudo[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
