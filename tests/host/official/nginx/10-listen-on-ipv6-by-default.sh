#!/bin/sh
# As the official one: it writes to the default site where it may.
site=/etc/nginx/conf.d/default.conf
if ! touch "$site" 2>/dev/null; then
  echo "$0: $site cannot be written"
elif [ -f /proc/net/if_inet6 ] && ! grep -q ':80;' "$site"; then
  sed -i 's/listen       80;/&\n    listen  [::]:80;/' "$site"
fi
