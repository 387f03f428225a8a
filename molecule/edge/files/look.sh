#!/usr/bin/env bash
# Looks around from a shell inside a container, as whoever took it over would, and says what it found as YAML.
# The secrets of other parts stand in $words, a variable of the shell alone, so that no process has them.
# Arguments: services to try, each as NAME|HOST|PORT|what its answer has. No `set -e`: what fails is what is to be seen.
list() { printf '%s:\n' "$1"; LC_ALL=C sort -u | sed "s/'/''/g; s/.*/  - '&'/"; }
# What the engine puts into every container.
engine='/((proc|sys|dev)(/|$| )|etc/(resolv.conf|hostname|hosts) )'

printf 'uid: %s\ngroups: "%s"\n' "$(id -u)" "$(id -G)"
sed -nE 's/^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):\s*(.*)/shell_\1: "\2"/p' /proc/self/status
sed -nE 's/^(Uid|CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):\s*(\S+).*/first_\1: "\2"/p' /proc/1/status

for one in ipc mnt net pid uts; do printf 'namespace_%s: "%s"\n' "$one" "$(readlink "/proc/self/ns/$one")"; done

# Written: the attempt itself, since modes and mounts are only half of it.
for directory in / /bin /etc /home /lib /opt /root /run /run/secrets /sbin /srv /tmp /usr /usr/local/bin /var /var/lib /var/tmp /sys /proc/sys \
  /etc/nginx/slipway /etc/postgresql /run/secrets/postgres /run/secrets/app /run/slipway /srv/static; do
  [ -d "$directory" ] || continue
  (: >"$directory/.escape") 2>/dev/null && { rm -f "$directory/.escape"; echo "$directory"; }
done | list written
for file in /etc/passwd /etc/hosts /etc/resolv.conf /proc/sysrq-trigger /proc/sys/kernel/core_pattern /proc/sys/net/ipv4/ip_forward /sys/kernel/uevent_helper; do
  (exec 3>>"$file") 2>/dev/null && echo "$file"
done | list opened
find / \( -path /proc -o -path /sys -o -path /dev/pts -o -path /dev/fd \) -prune -o \( -type d -o -type f \) -writable -print -prune 2>/dev/null | list writable
find /sys /proc/sys -type f -writable 2>/dev/null | list kernel
awk '$5 != "/" { split($6, options, ","); print $5, options[1] }' /proc/self/mountinfo | grep -vE "^$engine" | list mounts
awk '$5 == "/" { split($6, options, ","); print "root: " options[1] }' /proc/self/mountinfo

# Gained: a program with the setuid bit, looked at while it runs.
find / -xdev -type f -perm /6000 2>/dev/null | grep -c . | sed 's/^/setuid_files: /'
if [ -u /bin/su ]; then
  sleep 2 | su root -c true 2>/dev/null >&2 &
  sleep 0.5
  sed -nE 's/^Uid:\s*\S+\s+(\S+).*/setuid_gained: \1/p' "/proc/$!/status"
fi
unshare --user --map-root-user true 2>/dev/null && echo 'unshare: true' || echo 'unshare: false'
(mount -t tmpfs none /tmp 2>/dev/null || mount -t tmpfs none /mnt 2>/dev/null) && echo 'mount: true' || echo 'mount: false'
chown 0 /proc/self/cwd/. /dev/shm 2>/dev/null && echo 'chown: true' || echo 'chown: false'

# What is mounted over a file passes for that file in a listing, so mount points are looked at one by one.
find_all() {
  find / \( -path /proc -o -path /sys \) -prune -o -type "$1" -print 2>/dev/null
  awk '{ print $5 }' /proc/self/mountinfo | while read -r point; do test "$2" "$point" && echo "$point"; done
}
find_all s -S | sed 's/[0-9a-f]\{12\}/RELEASE/' | list sockets
find_all b -b | list block_devices
find /dev -type c 2>/dev/null | grep -v '^/dev/pts/' | list devices
printf 'first: %s\n' "$(cat /proc/1/comm)"

# Read: what lies where secrets lie, and wherever else a secret of another part would be found.
find /run/secrets /etc/nginx/slipway/tls -type f -readable 2>/dev/null | grep -E '^/run/|[.]pem$' | sed 's/selfsigned-[0-9a-f]*/NAME/' | list secrets
for word in ${words:-}; do
  grep -rlsF -- "$word" /etc /home /mnt /opt /root /run /srv /tmp /var /proc/1/environ /proc/self/environ 2>/dev/null
done | list canaries

# Limits, as the kernel holds them.
limit() { for file in "/sys/fs/cgroup/$1" "/sys/fs/cgroup/$2"; do [ -r "$file" ] && { cat "$file"; return; }; done; echo none; }
echo "memory: $(limit memory.max memory/memory.limit_in_bytes)"
echo "pids: $(limit pids.max pids/pids.max)"
if [ -r /sys/fs/cgroup/cpu.max ]; then read -r quota period </sys/fs/cgroup/cpu.max; else
  quota=$(limit - cpu/cpu.cfs_quota_us) period=$(limit - cpu/cpu.cfs_period_us)
fi
echo "cpus: $(awk -v quota="$quota" -v period="$period" 'BEGIN { print (quota + 0 > 0 ? quota / period : "none") }')"

# Reached.
# An answer counts, not a connection: what is outside may be a proxy that takes every one.
for target; do
  IFS='|' read -r name host port answer <<<"$target"
  question='GET / HTTP/1.0\r\n\r\n' bytes=400
  # A request for TLS, to which Postgres says yes or no.
  [ "$port" != 5432 ] || { question='\0\0\0\010\004\322\026\057' bytes=1; }
  # shellcheck disable=SC2016
  timeout 2 bash -c 'exec 3<>"/dev/tcp/$0/$1" && printf "$2" >&3 && head -c "$3" <&3' "$host" "$port" "$question" "$bytes" 2>/dev/null |
    grep -qaE "$answer" && echo "$name"
done | list reached
awk 'NR > 1 && $2 == "00000000" { print $1 }' /proc/net/route | list routes
