#!/usr/bin/env bash
# Writes numbers one by one, each in a transaction of its own, and notes those that were acknowledged, with the time.
# In a container on the database's network: writer.sh SECONDS; ends when /out/stop is there.
PGPASSWORD=$(cat /password)
export PGPASSWORD PGCONNECT_TIMEOUT=2
# Started anew with the engine, it begins behind all numbers that it used before.
number=$(($(date +%s) * 1000))
while [[ ! -e /out/stop && $SECONDS -lt $1 ]]; do
  number=$((number + 1))
  # One that was not acknowledged may be there or not: its number is never used again.
  # A server that went away without a word would let its client wait for minutes.
  if timeout 5 psql -X -q -h postgres -U example -d example -c "INSERT INTO numbered VALUES ($number)" 2>/dev/null; then
    printf '%s %s\n' "$number" "$(date +%s.%N)" >>/out/acknowledged
  fi
done
