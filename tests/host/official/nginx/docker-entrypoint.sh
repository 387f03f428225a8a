#!/bin/sh
# As the official one: when nginx is the command, what lies in /docker-entrypoint.d comes first, and it says what it does.
set -e
say() { [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || echo "$0: $*"; }
case $1 in
  nginx | nginx-debug)
    for script in /docker-entrypoint.d/*; do
      [ -x "$script" ] || { say "ignoring $script, which is not executable"; continue; }
      case $script in
        *.envsh)
          say "sourcing $script"
          # shellcheck source=/dev/null
          . "$script"
          ;;
        *.sh) say "running $script" && "$script" ;;
        *) say "ignoring $script" ;;
      esac
    done
    say "ready to start"
    ;;
esac
exec "$@"
