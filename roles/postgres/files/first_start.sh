#!/bin/sh
# The application's own role, which is no superuser and owns the database, and the extensions. Both entrypoints run this once,
# on an empty database, with the superuser's password in PGPASSWORD.
set -eu
ask() {
  psql -X -q -v ON_ERROR_STOP=1 --no-password --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" "$@"
}

ask -v owner="$SLIPWAY_OWNER" -v db="$POSTGRES_DB" <<'SQL'
CREATE ROLE :"owner" LOGIN;
ALTER DATABASE :"db" OWNER TO :"owner";
SQL
# \password hashes on the client's side: the password shows in no statement and so in no log.
password=$(cat /run/secrets/postgres/password)
printf '%s\n%s\n' "$password" "$password" | ask -c "\\password \"$SLIPWAY_OWNER\"" >/dev/null
for extension in $SLIPWAY_EXTENSIONS; do
  echo 'CREATE EXTENSION IF NOT EXISTS :"name";' | ask -v name="$extension"
done
