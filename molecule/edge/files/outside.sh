#!/bin/sh
# A service of the host itself on every address, and one on another machine, which is a network namespace.
set -eu
ip netns add outside
ip link add outside0 type veth peer name eth0 netns outside
ip address add 192.0.2.1/24 dev outside0
ip link set outside0 up
ip -n outside address add 192.0.2.2/24 dev eth0
ip -n outside link set eth0 up
ip -n outside route add default via 192.0.2.1
systemd-run --quiet --unit=service-here python3 -m http.server --directory /srv 9922
systemd-run --quiet --unit=service-outside ip netns exec outside python3 -m http.server --directory /srv 9922
