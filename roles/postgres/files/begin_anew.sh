#!/bin/sh
# begin_anew DIRECTORY: empties a data directory that a first start left unfinished. What may be somebody's stays: then it
# says what that is and ends with 1. No server may run on it.
set -eu
refuse() {
  echo "begin_anew: $*" >&2
  exit 1
}

data=$1
[ -d "$data" ] || exit 0
cd "$data"
# Slipway's own image does it again by itself.
[ ! -e slipway-first-start-unfinished ] || exit 0
for path in ./* ./.[!.]*; do
  case ${path#./} in
    '*' | '.[!.]*' | base | global | pg_[a-z]* | PG_VERSION | postgresql.conf | postgresql.auto.conf | postmaster.opts | postmaster.pid) ;;
    *) refuse "$data has ${path#./}, which initdb does not make" ;;
  esac
done
if [ -d pg_tblspc ] && [ -n "$(find pg_tblspc -mindepth 1 | head -n 1)" ]; then
  refuse "$data has a tablespace"
fi
if [ -d base ]; then
  # Whatever a user makes has a number from 16384 on; a new database has the files of the template, under their numbers.
  made=$(find base -mindepth 2 -name '[0-9]*' | sed 's|.*/||; s|[^0-9].*||' | awk '$1 >= 16384' | wc -l)
  [ "$made" -eq 0 ] || refuse "$data holds tables ($made files)"
  # pg_largeobject.
  [ -z "$(find base -mindepth 2 -name 2613 -size +0)" ] || refuse "$data holds large objects"
fi
find . -mindepth 1 -delete
