#!/usr/bin/env bash
# Kills something of the database COUNT times under numbered writes: crash.sh postmaster|backend|container|engine|host COUNT
# After each kill it waits until writes are acknowledged again, and fails when that takes four minutes (an engine that starts anew stops all containers first).
set -euo pipefail

# A write that began after the call was acknowledged.
wait_for_writes() {
  local before
  before=$(date +%s)
  while :; do
    if [[ $(tail -n 1 /root/out/acknowledged | cut -d' ' -f2 | cut -d. -f1) -gt $before ]]; then return; fi
    if ((SECONDS > deadline)); then
      docker ps --all --format "{{.Names}} {{.Status}}" >&2
      echo "no write was acknowledged within four minutes" >&2
      return 1
    fi
    sleep 0.2
  done
}

for _ in $(seq "$2"); do
  deadline=$((SECONDS + 240))
  case $1 in
    postmaster) kill -9 "$(docker inspect --format '{{.State.Pid}}' example-postgres)" ;;
    backend) until pid=$(pgrep -f '^postgres: example example' | head -n 1) && [[ $pid ]] && kill -9 "$pid"; do :; done ;;
    container) docker kill --signal KILL example-postgres >/dev/null && docker start example-postgres >/dev/null ;;
    engine)
      # systemd gives up a service that ends three times within a minute.
      systemctl reset-failed docker.service
      kill -9 "$(pidof dockerd)"
      # The containers run on until the new one stops them. An application that is only starting would let that wait for a minute.
      until docker info >/dev/null 2>&1 && [[ -z $(docker ps --quiet --filter health=starting) ]]; do
        ((SECONDS < deadline)) || { echo "the engine did not come back within four minutes" >&2 && exit 1; }
        sleep 0.2
      done
      ;;
    host) ;; # that was done from outside
  esac
  wait_for_writes
done
