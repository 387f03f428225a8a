#!/bin/sh
# find_secret.sh FILE: looks for the content of FILE everywhere where it must not be, and names each place that has it.
set -eu
secret=$(cat "$1")
[ -n "$secret" ] || { echo "$1 is empty, so there is nothing to look for"; exit 2; }
all=$(mktemp -d)
trap 'rm -rf "$all"' EXIT
docker ps --all --quiet | xargs docker inspect >"$all/containers"
docker images --all --quiet | sort -u | xargs docker inspect >"$all/images"
docker volume ls --quiet | xargs docker volume inspect >"$all/volumes"
docker network ls --quiet | xargs docker network inspect >"$all/networks"
for image in $(docker images --all --quiet | sort -u); do docker history --no-trunc "$image"; done >"$all/history"
for container in $(docker ps --all --quiet); do docker logs "$container" 2>&1; done >"$all/container-logs"
journalctl --no-pager >"$all/journal" 2>&1
grep -rI . /var/log >"$all/var-log" 2>/dev/null || true
ps axww >"$all/processes"
# A place where nothing was written would prove nothing.
for place in containers images volumes networks history container-logs journal processes; do
  [ -s "$all/$place" ] || { echo "$place: nothing there to look at"; exit 2; }
done
grep -q 'slipway.project' "$all/containers" || { echo "no container of the project to look at"; exit 2; }
if grep -l -F -e "$secret" "$all"/*; then exit 1; fi
echo "not found in: $(cd "$all" && echo *)"
