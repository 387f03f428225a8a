#!/usr/bin/env bash
# Does what the official entrypoint does, with its weaknesses: a directory with a PG_VERSION is a database, however its first
# start ended; the temporary server listens where the real one will; the environment holds the password.
set -Eeo pipefail

setting() {
  local name=$1 file_name=$1_FILE
  if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
    echo "error: both $name and $file_name are set" >&2
    exit 1
  fi
  if [[ -n ${!file_name:-} ]]; then
    export "$name=$(<"${!file_name}")"
  else
    export "$name=${!name:-${2:-}}"
  fi
  unset "$file_name"
}

query() { PGHOST='' PGHOSTADDR='' psql -v ON_ERROR_STOP=1 --no-password --no-psqlrc --username "$POSTGRES_USER" "$@"; }

first_start() {
  local method script
  if [[ -z $POSTGRES_PASSWORD && ${POSTGRES_HOST_AUTH_METHOD:-} != trust ]]; then
    echo "Error: Database is uninitialized and superuser password is not specified: POSTGRES_PASSWORD" >&2
    exit 1
  fi
  # Since 18: the default directory is empty, and an older database lies beside it.
  if ((PG_MAJOR >= 18)) && [[ $PGDATA == "/var/lib/postgresql/$PG_MAJOR/docker" ]]; then
    for script in /var/lib/postgresql /var/lib/postgresql/data /var/lib/postgresql/*/docker; do
      if [[ -s $script/PG_VERSION ]]; then
        echo "Error: there is a database of an older version in $script" >&2
        exit 1
      fi
    done
  fi
  eval "initdb --username=\"\$POSTGRES_USER\" --pwfile=<(printf '%s\n' \"\$POSTGRES_PASSWORD\") $POSTGRES_INITDB_ARGS"
  method=$(postgres -C password_encryption "${@:2}")
  printf '\nhost all all all %s\n' "${POSTGRES_HOST_AUTH_METHOD:-$method}" >>"$PGDATA/pg_hba.conf"
  export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
  NOTIFY_SOCKET='' PGUSER=${PGUSER:-$POSTGRES_USER} \
    pg_ctl -D "$PGDATA" -o "$(printf '%q ' "${@:2}" -c listen_addresses='' -p "${PGPORT:-5432}")" -w start
  if [[ -z $(query --dbname postgres --set db="$POSTGRES_DB" -At <<<"SELECT 1 FROM pg_database WHERE datname = :'db'") ]]; then
    query --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db"'
  fi
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh)
        if [[ -x $script ]]; then
          "$script"
        else
          # shellcheck source=/dev/null
          . "$script"
        fi
        ;;
      *.sql) query --dbname "$POSTGRES_DB" --file "$script" ;;
      *.sql.gz) gunzip --stdout "$script" | query --dbname "$POSTGRES_DB" ;;
      *.sql.xz) xz --decompress --stdout "$script" | query --dbname "$POSTGRES_DB" ;;
      *.sql.zst) zstd --decompress --stdout "$script" | query --dbname "$POSTGRES_DB" ;;
      *) echo "$0: ignoring $script" ;;
    esac
  done
  PGUSER=${PGUSER:-postgres} pg_ctl -D "$PGDATA" -m fast -w stop
  unset PGPASSWORD
  echo 'PostgreSQL init process complete; ready for start up.'
}

[[ ${1:0:1} != - ]] || set -- postgres "$@"
case " $* " in
  *' --version '* | *' -V '* | *' --help '* | *' -? '* | *' --describe-config '*) exec "$@" ;;
esac
if [[ $1 == postgres ]]; then
  setting POSTGRES_PASSWORD
  setting POSTGRES_USER postgres
  setting POSTGRES_DB "$POSTGRES_USER"
  setting POSTGRES_INITDB_ARGS
  # What is mounted may not let itself be changed.
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" || true
  mkdir -p /var/run/postgresql || true
  chmod 03775 /var/run/postgresql || true
  if [[ $(id -u) == 0 ]]; then
    find "$PGDATA" /var/run/postgresql ! -user postgres -exec chown postgres {} +
    exec gosu postgres "${BASH_SOURCE[0]}" "$@"
  fi
  if [[ -s $PGDATA/PG_VERSION ]]; then
    echo 'PostgreSQL Database directory appears to contain a database; Skipping initialization'
  else
    first_start "$@"
  fi
fi
exec "$@"
