#!/bin/bash
# make.sh ARCHIVE DEBIAN: builds images in the official layout on the image DEBIAN:trixie and DEBIAN:forky, and writes into
# ARCHIVE the image of a registry that holds them under the official names.
set -euo pipefail
archive=$1 debian=$2
cd "$(dirname "$0")"
registry=slipway-test-registry
contract=../../../molecule/base_images/files/postgres_contract.sh
trap 'docker rm --force "$registry" >/dev/null 2>&1' EXIT

build() {
  local context=$1 name=$2
  shift 2
  docker build --tag "slipway-test/$name" --build-arg "BASE_IMAGE=$debian:trixie" "$@" "$context"
}

build registry registry:empty
build nginx official/nginx:1.26
build python official/python:3.13-slim
build postgres official/postgres:17
build postgres official/postgres:18 --build-arg "BASE_IMAGE=$debian:forky" --build-arg PG_MAJOR=18 \
  --build-arg PGDATA=/var/lib/postgresql/18/docker --build-arg PG_VOLUME=/var/lib/postgresql
"$contract" slipway-test/official/postgres:17

docker rm --force "$registry" >/dev/null 2>&1 || true
docker run --detach --name "$registry" --publish 127.0.0.1::5000 slipway-test/registry:empty
address=$(docker port "$registry" 5000 | head -n 1)
curl --silent --fail --retry 30 --retry-delay 1 --retry-all-errors --output /dev/null "http://$address/v2/"
for image in nginx:1.26 python:3.13-slim postgres:17 postgres:18; do
  docker tag "slipway-test/official/$image" "$address/library/$image"
  docker push --quiet "$address/library/$image"
  docker rmi --no-prune "$address/library/$image" >/dev/null
done
docker stop "$registry" >/dev/null
docker commit "$registry" slipway-test/registry:official
docker save --output "$archive" slipway-test/registry:official
chmod 0644 "$archive"
