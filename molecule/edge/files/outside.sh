#!/bin/sh
# A service of the host itself on every address, and one on another machine, which is a network namespace.
set -eu
ip netns add elsewhere
ip link add elsewhere0 type veth peer name eth0 netns elsewhere
ip address add 192.0.2.1/24 dev elsewhere0
ip link set elsewhere0 up
ip -n elsewhere address add 192.0.2.2/24 dev eth0
ip -n elsewhere link set eth0 up
ip -n elsewhere route add default via 192.0.2.1
systemd-run --quiet --unit=service-here python3 -m http.server --directory /srv 9922
systemd-run --quiet --unit=service-outside ip netns exec elsewhere python3 -m http.server --directory /srv 9922
