# shellcheck shell=bash
# A PostgreSQL of the tests' own: a new cluster in a temporary directory, on a free port of 127.0.0.1 alone. Its
# settings for durability stay as they are, since the arbiter refuses to start without them. Others may be given, as
# options of the server, in GAMESHELF_TEST_POSTGRES_OPTIONS: "-c shared_buffers=2GB".

POSTGRES_DIRECTORY=""
POSTGRES_BIN=""

# Where the server's programs are, or nothing.
postgres_find() {
  local candidate
  if candidate="$(command -v initdb)"; then
    dirname "$(readlink -f "$candidate")"
    return
  fi
  # Debian keeps them out of PATH, a directory for each version; the newest is taken.
  candidate="$(printf '%s\n' /usr/lib/postgresql/*/bin/initdb | sort -V | tail -n 1)"
  if [[ -x "$candidate" ]]; then dirname "$candidate"; fi
}

# Runs a command as an unprivileged user: the server refuses to run as root.
postgres_as_user() {
  if [[ "$(id -u)" == 0 ]]; then
    runuser -u postgres -- "$@"
  else
    "$@"
  fi
}

# A port on which nobody listens, below those that the system gives to clients.
postgres_free_port() {
  local port
  while true; do
    port=$((20000 + RANDOM % 10000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      printf '%s' "$port"
      return
    fi
  done
}

postgres_start() {
  POSTGRES_BIN="$(postgres_find)"
  if [[ -z "$POSTGRES_BIN" ]]; then
    need_packages postgresql
    POSTGRES_BIN="$(postgres_find)"
  fi
  if [[ "$(id -u)" == 0 ]] && ! id postgres >/dev/null 2>&1; then
    useradd --system --user-group --no-create-home postgres
  fi

  local port password
  POSTGRES_DIRECTORY="$(mktemp -d "${TMPDIR:-/tmp}/gameshelf-postgres.XXXXXX")"
  port="$(postgres_free_port)"
  password="$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')"
  printf '%s' "$password" >"$POSTGRES_DIRECTORY/password"
  if [[ "$(id -u)" == 0 ]]; then chown -R postgres "$POSTGRES_DIRECTORY"; fi

  (
    # The user of the server may not be able to enter the directory that we are in.
    cd "$POSTGRES_DIRECTORY"
    postgres_as_user "$POSTGRES_BIN/initdb" --pgdata=cluster --username=gameshelf --encoding=UTF8 --locale=C \
      --auth=scram-sha-256 --pwfile=password >initdb.log 2>&1 || { cat initdb.log; exit 1; }
    postgres_as_user "$POSTGRES_BIN/pg_ctl" --pgdata=cluster --log=server.log --wait --timeout=60 --silent \
      --options="-p $port -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c max_connections=300 \
        ${GAMESHELF_TEST_POSTGRES_OPTIONS:-}" \
      start || { cat server.log; exit 1; }
  )
  export GAMESHELF_TEST_POSTGRES_URL="postgres://gameshelf:$password@127.0.0.1:$port/postgres"
}

postgres_stop() {
  if [[ -z "$POSTGRES_DIRECTORY" ]]; then return; fi
  (
    cd "$POSTGRES_DIRECTORY"
    if [[ -f cluster/postmaster.pid ]]; then
      postgres_as_user "$POSTGRES_BIN/pg_ctl" --pgdata=cluster --mode=immediate --wait --silent stop || true
    fi
  )
  rm -rf "$POSTGRES_DIRECTORY"
  POSTGRES_DIRECTORY=""
}
