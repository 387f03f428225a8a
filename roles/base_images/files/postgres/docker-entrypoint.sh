#!/usr/bin/env bash
# Starts PostgreSQL; on an empty data directory it makes the database first. The contract (variables, paths, users, init
# scripts) is the official image's, with these differences, all on the safe side:
#   - the server's environment never holds the password;
#   - a first start that was cut short is never taken for a database: it is done again;
#   - the temporary server of the first start listens on a socket of its own: nobody takes it for the real one;
#   - beside the data of another version no empty database is made.
#
#   POSTGRES_USER (postgres), POSTGRES_DB (the user's name), POSTGRES_PASSWORD, POSTGRES_INITDB_ARGS: also as NAME_FILE
#   POSTGRES_HOST_AUTH_METHOD (the server's password_encryption), POSTGRES_INITDB_WALDIR
#   POSTGRES_INIT_BESIDE=true: make a database although another one lies beside it
#
# No `set -u`: init scripts are sourced, and may use variables that nobody set.
set -Eeo pipefail

home=/var/lib/postgresql
socket_directory=/var/run/postgresql
init_socket_directory=$socket_directory/init
init_scripts=/docker-entrypoint-initdb.d
# There from before the first file of a new database until after the last: while it exists, the directory is no database.
marker=$PGDATA/slipway-first-start-unfinished
# initdb wants an empty directory, so it works one level down, and the result is moved up.
staging=$PGDATA/slipway-initdb
server=

note() { printf 'postgres entrypoint: %s\n' "$*" >&2; }

die() {
  note "error: $*"
  exit 1
}

# Sets the variable NAME from NAME, from the file that NAME_FILE names, or to the default.
read_setting() {
  local name=$1 default=${2:-} file_name=$1_FILE
  local file=${!file_name:-}
  if [[ -n $file ]]; then
    [[ -z ${!name:-} ]] || die "both $name and $file_name are set: set one of them"
    [[ -r $file ]] || die "$file_name is $file, which $(id -un) cannot read: check that it is mounted, and its mode"
    declare -g "$name=$(<"$file")"
    unset "$file_name"
  elif [[ -z ${!name:-} ]]; then
    declare -g "$name=$default"
  fi
}

read_settings() {
  if [[ -n ${SLIPWAY_PASSWORD_FD:-} ]]; then
    POSTGRES_PASSWORD=$(cat <&"$SLIPWAY_PASSWORD_FD")
    exec {SLIPWAY_PASSWORD_FD}<&-
    unset SLIPWAY_PASSWORD_FD
  fi
  read_setting POSTGRES_PASSWORD
  read_setting POSTGRES_USER postgres
  read_setting POSTGRES_DB "$POSTGRES_USER"
  read_setting POSTGRES_INITDB_ARGS
  if [[ -z $POSTGRES_PASSWORD && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
    die "the database is not made yet and has no superuser password: set POSTGRES_PASSWORD_FILE (or POSTGRES_PASSWORD)," \
      "or POSTGRES_HOST_AUTH_METHOD=trust to let everybody in without one"
  fi
}

needs_first_start() { [[ ! -s $PGDATA/PG_VERSION || -e $marker ]]; }

is_mount_point() { awk -v path="$1" '$5 == path { found = 1 } END { exit !found }' /proc/self/mountinfo; }

# Ends the start on a data directory that this version must not use. Changes nothing.
refuse_wrong_data() {
  local found version
  if [[ -s $PGDATA/PG_VERSION ]]; then
    version=$(<"$PGDATA/PG_VERSION")
    [[ $version == "$PG_MAJOR" ]] ||
      die "the data directory $PGDATA is PostgreSQL $version's and this is PostgreSQL $PG_MAJOR: nothing was changed;" \
        "start it with a PostgreSQL $version image, or upgrade the data first (pg_upgrade, or a dump and a restore)"
    return
  fi
  if ((PG_MAJOR >= 18)) && is_mount_point "$home/data" && [[ $PGDATA/ != "$home/data/"* ]]; then
    die "a volume is mounted at $home/data, the place of PostgreSQL 17 and older, and PostgreSQL $PG_MAJOR keeps its data in" \
      "$PGDATA: mount the volume at $home, or set PGDATA to a directory of it"
  fi
  [[ ! -e $marker ]] || return 0
  found=$(find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found -printf '%f ' -quit 2>/dev/null || true)
  [[ -z $found ]] ||
    die "the data directory $PGDATA is no database and not empty (it has ${found% }): empty it, or set PGDATA to an empty directory"
  [[ ${POSTGRES_INIT_BESIDE:-} != true ]] || return 0
  for found in "$home"/*/docker/PG_VERSION "$home"/{main,data}/PG_VERSION "$home"/PG_VERSION; do
    [[ -s $found ]] || continue
    version=$(<"$found")
    found=${found%/PG_VERSION}
    if [[ $version == "$PG_MAJOR" ]]; then
      die "$PGDATA is empty, but a PostgreSQL $version database lies in $found: set PGDATA=$found, or move it to $PGDATA" \
        "(POSTGRES_INIT_BESIDE=true makes a new, empty one)"
    fi
    die "this is PostgreSQL $PG_MAJOR and $PGDATA is empty, but a PostgreSQL $version database lies in $found: start it with a" \
      "PostgreSQL $version image, or upgrade the data first (POSTGRES_INIT_BESIDE=true makes a new, empty one)"
  done
}

# As root: makes the directories, gives them to postgres and goes on as that user. The password's file may be readable by
# root alone, so it is read here, and handed over through a pipe: the environment would be seen by every child.
drop_root() {
  local directory
  mkdir -p "$PGDATA" "$socket_directory"
  directory=$PGDATA
  while [[ $directory == "$home"/* ]]; do
    chown postgres:postgres "$directory"
    directory=${directory%/*}
  done
  find "$PGDATA" ! -user postgres -exec chown postgres:postgres {} +
  # What is mounted here may not let itself be changed; the server says so if that matters.
  chmod 0700 "$PGDATA" || true
  chown postgres:postgres "$socket_directory" || true
  chmod 3777 "$socket_directory" || true
  if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then
    mkdir -p "$POSTGRES_INITDB_WALDIR"
    chmod 0700 "$POSTGRES_INITDB_WALDIR"
    find "$POSTGRES_INITDB_WALDIR" ! -user postgres -exec chown postgres:postgres {} +
  fi
  export HOME=$home
  local -a as_postgres=(setpriv --reuid postgres --regid postgres --init-groups "${BASH_SOURCE[0]}" "$@")
  if needs_first_start; then
    read_settings
    export POSTGRES_USER POSTGRES_DB POSTGRES_INITDB_ARGS
    local password=$POSTGRES_PASSWORD
    unset POSTGRES_PASSWORD
    SLIPWAY_PASSWORD_FD=3 exec "${as_postgres[@]}" 3<<<"$password"
  fi
  exec "${as_postgres[@]}"
}

# A first start was cut short. Its rest can go: no client ever reached that server. Unless another image started one on
# it since; the options of the last server that ran tell.
discard_unfinished() {
  if [[ -e $PGDATA/postmaster.opts ]] && ! grep -q cluster_name=slipway-first-start "$PGDATA/postmaster.opts"; then
    die "the first start of $PGDATA was cut short, but a server ran on it since: if it holds data that you need, remove" \
      "$marker and start again; else empty the directory"
  fi
  note "the first start was cut short before the database was ready: doing it again"
  find "$PGDATA" -mindepth 1 -maxdepth 1 ! -name lost+found ! -path "$marker" -exec rm -rf {} +
  if [[ -n ${POSTGRES_INITDB_WALDIR:-} ]]; then
    find "$POSTGRES_INITDB_WALDIR" -mindepth 1 -maxdepth 1 ! -name lost+found -exec rm -rf {} +
  fi
}

make_cluster() {
  local -a arguments=()
  # xargs takes the quotes apart as a shell would, and expands nothing.
  mapfile -d '' -t arguments < <(xargs -r printf '%s\0' <<<"$POSTGRES_INITDB_ARGS")
  [[ -z ${POSTGRES_INITDB_WALDIR:-} ]] || arguments+=(--waldir "$POSTGRES_INITDB_WALDIR")
  if [[ -n $POSTGRES_PASSWORD ]]; then
    initdb --pgdata "$staging" --username "$POSTGRES_USER" --no-instructions \
      --pwfile <(printf '%s\n' "$POSTGRES_PASSWORD") "${arguments[@]}"
  else
    initdb --pgdata "$staging" --username "$POSTGRES_USER" --no-instructions "${arguments[@]}"
  fi
  find "$staging" -mindepth 1 -maxdepth 1 -exec mv -t "$PGDATA" {} +
  rmdir "$staging"
}

# initdb lets in the host itself only; this lets in the network. Arguments: the server's command.
allow_network() {
  local method=${POSTGRES_HOST_AUTH_METHOD:-}
  [[ -n $method ]] || method=$("$1" -C password_encryption "${@:2}")
  if [[ $method == trust ]]; then
    note "warning: POSTGRES_HOST_AUTH_METHOD=trust lets everybody who reaches the port in, as any user, without a password"
  fi
  printf '\n# Written at the first start by docker-entrypoint.sh\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
}

# Arguments: the server's command.
start_temporary_server() {
  mkdir -p "$init_socket_directory"
  chmod 0700 "$init_socket_directory"
  export PGHOST=$init_socket_directory
  unset PGHOSTADDR
  "$@" -c listen_addresses= -c unix_socket_directories="$init_socket_directory" -c cluster_name=slipway-first-start \
    -p "${PGPORT:-5432}" &
  server=$!
  until pg_isready --quiet --timeout=1 --username "$POSTGRES_USER" --dbname postgres; do
    kill -0 "$server" 2>/dev/null || die "the temporary server of the first start ended: its messages are above"
    sleep 0.1
  done
}

stop_temporary_server() {
  kill -INT "$server"
  wait "$server"
  server=
  rm -rf "$init_socket_directory"
}

# Runs psql as the superuser, in the new database. Also there for the sourced init scripts, under the name they know.
docker_process_sql() {
  psql --set ON_ERROR_STOP=1 --no-psqlrc --no-password --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"
}

make_database() {
  local -a as_superuser=(docker_process_sql --dbname template1 --set "db=$POSTGRES_DB" --quiet)
  local known
  known=$("${as_superuser[@]}" --tuples-only --no-align <<<"SELECT 1 FROM pg_database WHERE datname = :'db'")
  [[ -n $known ]] || "${as_superuser[@]}" <<<'CREATE DATABASE :"db"'
}

run_init_scripts() {
  local script
  for script in "$init_scripts"/*; do
    [[ -e $script ]] || continue
    note "first start: $script"
    # What the message at the exit names, if this one fails.
    running=$script
    case $script in
      *.sh)
        if [[ -x $script ]]; then
          "$script"
        else
          # shellcheck source=/dev/null
          . "$script"
        fi
        ;;
      *.sql) docker_process_sql --file "$script" ;;
      *.sql.gz) gunzip --stdout "$script" | docker_process_sql ;;
      *.sql.xz) xz --decompress --stdout "$script" | docker_process_sql ;;
      *.sql.zst) zstd --decompress --stdout "$script" | docker_process_sql ;;
      *) note "$script is ignored: it is neither .sh nor .sql, .sql.gz, .sql.xz or .sql.zst" ;;
    esac
    running=
  done
}

# Runs when the first start fails or is stopped half-way.
clean_up() {
  local status=$?
  trap - EXIT
  if [[ -n $server ]]; then
    kill -INT "$server" 2>/dev/null || true
    wait "$server" || true
  fi
  rm -rf "$init_socket_directory"
  note "the first start failed${running:+ in $running}; the reason is above. No database was made: mend it and start again"
  exit "$((status ? status : 1))"
}

first_start() {
  running=
  read_settings
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA"
  [[ ! -e $marker ]] || discard_unfinished
  echo 'The first start is not finished: this is no database yet.' >"$marker"
  trap clean_up EXIT
  trap 'exit 143' INT TERM
  make_cluster
  allow_network "$@"
  # Init scripts expect these, as with the official image.
  export POSTGRES_USER POSTGRES_DB POSTGRES_PASSWORD
  [[ -z $POSTGRES_PASSWORD ]] || export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
  start_temporary_server "$@"
  make_database
  run_init_scripts
  stop_temporary_server
  sync --file-system "$PGDATA"
  rm -f "$marker"
  trap - EXIT INT TERM
  unset PGHOST
  note "the database is ready: starting the server"
}

wants_no_server() {
  local argument
  for argument in "$@"; do
    case $argument in
      -'?' | --help | --describe-config | -V | --version) return 0 ;;
    esac
  done
  return 1
}

main() {
  [[ ${1:-} != -* ]] || set -- postgres "$@"
  if [[ ${1:-} != postgres ]] || wants_no_server "$@"; then
    exec "$@"
  fi
  refuse_wrong_data
  [[ $(id -u) != 0 ]] || drop_root "$@"
  id -un >/dev/null 2>&1 ||
    die "user $(id -u) is not known in this image: start it as root, which drops to postgres, or with --user 999:999"
  if needs_first_start; then
    first_start "$@"
  fi
  unset POSTGRES_PASSWORD PGPASSWORD
  exec "$@"
}

main "$@"
