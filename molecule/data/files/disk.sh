#!/usr/bin/env bash
# A repository on a disk that is full: disk.sh move|fill|room|back|queue MB|write SEGMENTS|waiting
set -euo pipefail
repository=/var/lib/slipway/example/backups
data=/var/lib/docker/volumes/example_db_volume/_data/17/docker

# Nothing may be archived while the repository is copied; and a container sees what was mounted when it started.
stop() { docker stop example-postgres; }
start() {
  docker start example-postgres
  until docker exec example-postgres pg_isready -q -h 127.0.0.1; do sleep 0.2; done
}

psql() {
  docker exec example-postgres sh -c \
    'PGPASSWORD=$(cat /run/secrets/postgres/superuser) psql -X -q -A -t -h 127.0.0.1 -U slipway -d example -c "$0"' "$1"
}

case $1 in
  move)
    stop
    mkdir -p /root/moved
    mount -t tmpfs -o "size=$(($(du -sm "$repository" | cut -f1) + 200))m,mode=0700,uid=999,gid=999" tmpfs /root/moved
    cp -a "$repository/." /root/moved/
    mount --move /root/moved "$repository"
    start
    ;;
  back)
    stop
    mkdir -p /root/moved
    mount --move "$repository" /root/moved
    find "$repository" -mindepth 1 -delete
    cp -a /root/moved/. "$repository/"
    start
    umount /root/moved
    ;;
  fill) cat /dev/zero >"$repository/filler" 2>/dev/null || [[ $(df --output=avail "$repository" | tail -n 1) -eq 0 ]] ;;
  room) rm "$repository/filler" ;;
  queue) sed -i "s/^archive-push-queue-max=.*/archive-push-queue-max=$2MiB/" /etc/slipway/example/secrets/backup/pgbackrest.conf ;;
  write) for _ in $(seq "$2"); do psql "SELECT pg_logical_emit_message(true, 'test', 'full'); SELECT pg_switch_wal()"; done ;;
  waiting) echo $(($(find "$data/pg_wal/archive_status" -name '*.ready' | wc -l) * 16)) ;;
esac
