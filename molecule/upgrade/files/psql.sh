#!/usr/bin/env bash
# Runs the statements on its input in the application's database, as a superuser.
set -euo pipefail
exec docker exec -i example-postgres sh -c \
  'PGPASSWORD=$(cat /run/secrets/postgres/superuser) exec psql -X -q -A -t -h 127.0.0.1 -U slipway -d example'
