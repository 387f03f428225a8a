#!/bin/sh
# Runs what lies in /docker-entrypoint.d, in the order of the names, then the command: *.envsh files are sourced (they may
# export variables for the rest), executable *.sh files are run. A script that fails stops the start.
set -eu

note() {
  [ -n "${NGINX_ENTRYPOINT_QUIET_LOGS:-}" ] || printf 'nginx entrypoint: %s\n' "$*" >&2
}

run_scripts() {
  for script in /docker-entrypoint.d/*; do
    case $script in
      *.envsh | *.sh)
        if [ ! -x "$script" ]; then
          note "ignoring $script: it is not executable"
        elif [ "${script%.envsh}" != "$script" ]; then
          note "sourcing $script"
          # shellcheck source=/dev/null
          . "$script"
        else
          note "running $script"
          "$script"
        fi
        ;;
    esac
  done
}

case ${1:-} in
  nginx | nginx-debug) run_scripts ;;
esac
exec "$@"
