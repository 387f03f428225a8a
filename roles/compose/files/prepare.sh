#!/bin/sh
# prepare.sh DIRECTORY TASK...: makes what is missing before a start. Tasks, their paths below DIRECTORY:
#   new:PATH        a secret at random, once
#   same:PATH:OF    the same secret as another one
#   given:PATH      a secret that `./slipway compose` writes: the start ends in a sentence where it is missing
#   owner:UID:PATH  an absolute path, a volume's, for a container's user
set -eu

die() {
  printf 'compose: %s\n' "$*" >&2
  exit 1
}

directory=$1
shift
[ -d "$directory" ] || mkdir -p "$directory"
# Nobody but the developer passes here; a container sees a directory further down, whose files its user may read.
chmod 0700 "$directory"
umask 022

write() {
  mkdir -p "$(dirname "$directory/$1")"
  cat >"$directory/$1.new"
  [ -s "$directory/$1.new" ] || die "could not make the secret $1."
  mv "$directory/$1.new" "$directory/$1"
}

for task in "$@"; do
  rest=${task#*:}
  case $task in
    new:*)
      [ -s "$directory/$rest" ] || LC_ALL=C tr -dc A-Za-z0-9 </dev/urandom | head -c 64 | write "$rest"
      ;;
    same:*)
      cmp -s "$directory/${rest#*:}" "$directory/${rest%%:*}" || write "${rest%%:*}" <"$directory/${rest#*:}"
      ;;
    given:*)
      [ -e "$directory/$rest" ] ||
        die "the secret .compose/secrets/$rest is missing: run ./slipway compose with the inventory of this application, or write the file."
      ;;
    owner:*)
      [ "$(stat -c %u "${rest#*:}")" = "${rest%%:*}" ] || chown "${rest%%:*}:${rest%%:*}" "${rest#*:}"
      ;;
    *) die "prepare.sh does not know $task." ;;
  esac
done
# In the container this is root: what it made in the checkout is the developer's.
[ "$(id -u)" != 0 ] || chown -R "$(stat -c %u:%g "$directory")" "$directory"
