#!/usr/bin/env bash
# Runs the statements on its input in the application's database, as its owner.
set -euo pipefail
exec docker exec -i example-postgres sh -c \
  'PGPASSWORD=$(cat /run/secrets/postgres/password) exec psql -X -q -A -t -h 127.0.0.1 -U example -d example'
