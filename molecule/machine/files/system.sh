#!/usr/bin/env bash
# Makes a machine of a fresh Debian: disk, name, network, and a user who may use sudo. mmdebstrap calls the script with the root directory; KEY is the
# public key of that user.
set -euo pipefail
root=$1

echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$root/etc/fstab"
echo machine >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 machine\n' >"$root/etc/hosts"
printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >"$root/etc/systemd/network/wired.network"
# The name server of QEMU's user-mode network.
echo 'nameserver 10.0.2.3' >"$root/etc/resolv.conf"
chroot "$root" systemctl --quiet enable systemd-networkd.service ssh.service

chroot "$root" useradd --create-home --shell /bin/bash deploy
echo 'deploy ALL=(ALL) NOPASSWD: ALL' >"$root/etc/sudoers.d/deploy"
chmod 0440 "$root/etc/sudoers.d/deploy"
chroot "$root" install -d -m 0700 -o deploy -g deploy /home/deploy/.ssh
echo "$KEY" >"$root/home/deploy/.ssh/authorized_keys"
chroot "$root" chown deploy:deploy /home/deploy/.ssh/authorized_keys
