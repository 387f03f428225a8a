#!/bin/bash
# The contract of the Postgres image, as the official one has it: one line for each promise, 1 at the first that is broken.
set -euo pipefail
image=${1:-slipway/postgres:17}
work=$(mktemp -d)
trap 'docker rm --force --volumes contract >/dev/null 2>&1; docker volume rm contract >/dev/null 2>&1; rm -rf "$work"' EXIT

broken() {
  echo "BROKEN: $*"
  docker logs --tail 20 contract 2>&1 | sed 's/^/  /'
  exit 1
}

run() {
  docker run --detach --name contract --hostname contract --volume contract:/var/lib/postgresql/data \
    --volume "$work/secret:/run/secrets/password:ro" --volume "$work/initdb.d:/docker-entrypoint-initdb.d:ro" \
    --env POSTGRES_USER=me --env POSTGRES_DB=mine --env POSTGRES_PASSWORD_FILE=/run/secrets/password "$image" >/dev/null
}

# Over the network: as in the official image, the loopback address needs no password.
ask() {
  docker exec --env PGPASSWORD="$1" contract psql -X -A -t -h contract -U me -d mine -c "$2" 2>&1
}

answers() {
  for _ in $(seq 60); do
    if ask "$(cat "$work/secret")" 'SELECT 1' >/dev/null; then return; fi
    sleep 0.5
  done
  broken "Postgres does not take queries"
}

ends_with() {
  for _ in $(seq 60); do
    if [ "$(docker inspect --format '{{.State.Status}}' contract)" = exited ]; then
      [ "$(docker inspect --format '{{.State.ExitCode}}' contract)" != 0 ] || broken "it ended with 0"
      [[ $(docker logs --tail 3 contract 2>&1) =~ $1 ]] || broken "it ended without saying: $1"
      docker rm --volumes contract >/dev/null
      return
    fi
    sleep 0.5
  done
  broken "it runs, and should have refused to: $1"
}

printf 'secret of the contract' >"$work/secret"
mkdir "$work/initdb.d"
echo "CREATE TABLE kept AS SELECT 'by sql' AS word;" >"$work/initdb.d/1.sql"
cat >"$work/initdb.d/2.sh" <<'SCRIPT'
psql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "INSERT INTO kept VALUES ('by sh')"
SCRIPT
chmod -R a+rX "$work"

docker run --detach --name contract "$image" >/dev/null
ends_with 'POSTGRES_PASSWORD'
echo "refuses to make a database without a password"

run
answers
[ "$(ask 'secret of the contract' 'SELECT string_agg(word, $$,$$) FROM kept')" = 'by sql,by sh' ] || broken "initdb.d was not run"
echo "runs /docker-entrypoint-initdb.d, takes the password from a file"

said=$(ask wrong 'SELECT 1') && broken "any password opens the door"
[[ $said == *'password authentication failed'* ]] || broken "it says no word of the password: $said"
echo "refuses another password"

[ "$(docker exec contract stat -c %u /var/lib/postgresql/data)" = 999 ] || broken "the data is not of uid 999"
echo "uid 999 owns the data"

[ "$(docker inspect --format '{{.Config.StopSignal}}' "$image")" = SIGINT ] || broken "the signal to stop is not SIGINT"
docker stop contract >/dev/null
[[ $(docker logs --tail 1 contract 2>&1) == *'database system is shut down'* ]] || broken "it was not shut down in order"
[ "$(docker inspect --format '{{.State.ExitCode}}' contract)" = 0 ] || broken "docker stop ended with another code than 0"
echo "docker stop shuts it down in order"

docker start contract >/dev/null
answers
[ "$(ask 'secret of the contract' 'SELECT count(*) FROM kept')" = 2 ] || broken "a restart lost rows, or ran initdb.d again"
echo "rows survive a restart"

docker rm --force contract >/dev/null
data=$(docker volume inspect --format '{{.Mountpoint}}' contract)
cp -a "$data/PG_VERSION" "$work/PG_VERSION"
echo 16 >"$data/PG_VERSION"
run
ends_with '(16.*17|17.*16)'
cp -a "$work/PG_VERSION" "$data/PG_VERSION"
run
answers
[ "$(ask 'secret of the contract' 'SELECT count(*) FROM kept')" = 2 ] || broken "the refused start changed the data"
echo "refuses the data directory of another major version, and leaves it alone"
