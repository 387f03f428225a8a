#!/bin/sh
# mmdebstrap runs this last, with the new root as $1: what a base layer for containers needs, and needs not.
set -eu
root=$1

# No service starts while a package is being installed.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 0755 "$root/usr/sbin/policy-rc.d"

# Images on top stay as small as this one: no manuals, no translations, no package files. A build that is cut short is
# thrown away, so dpkg need not sync after each file.
cat >"$root/etc/dpkg/dpkg.cfg.d/slipway" <<'CONF'
force-unsafe-io
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/locale/*
path-include=/usr/share/locale/locale.alias
path-exclude=/usr/share/lintian/*
CONF
cat >"$root/etc/apt/apt.conf.d/slipway" <<'CONF'
Acquire::Languages "none";
Acquire::Retries "3";
APT::Keep-Downloaded-Packages "false";
CONF

# What the host's administrator decided about the age of its mirror's lists holds for the same mirror in here.
grep '^Acquire::Check-' "$root/etc/apt/apt.conf.d/99mmdebstrap" >>"$root/etc/apt/apt.conf.d/slipway" || true

# The host's own: the engine writes these into each container. The options were for the build.
rm -f "$root/etc/apt/apt.conf.d/99mmdebstrap" "$root/etc/dpkg/dpkg.cfg.d/99mmdebstrap" "$root/etc/hostname"
: >"$root/etc/resolv.conf"
rm -rf "$root"/var/cache/apt/*.bin "$root"/var/cache/ldconfig/* "$root"/var/lib/apt/lists/* "$root"/var/log/apt \
  "$root"/var/log/dpkg.log "$root"/var/log/alternatives.log
find "$root/usr/share/locale" -mindepth 1 -maxdepth 1 ! -name locale.alias -exec rm -rf {} +
