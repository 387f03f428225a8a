#!/bin/sh
# Gives the command the secret variables: one file each, named like the variable.
set -eu
for file in /run/secrets/app/env/*; do
  [ -f "$file" ] || continue
  # The x keeps line breaks at the end, which $() would take away.
  value=$(cat "$file" && printf x)
  export "$(basename "$file")=${value%x}"
done
exec "$@"
