#!/bin/sh
# The first start of a host, once, by cloud-init: it gets the SSH key that its lab knows it by, and what is secret
# leaves the boot partition, which every account of the host may read.
set -eu
boot=/boot/firmware
key=/etc/ssh/ssh_host_ed25519_key

# Raspberry Pi OS makes keys of its own at the first start: after this they stay ours.
systemctl disable --now regenerate_ssh_host_keys.service 2>/dev/null || true
if [ -s $boot/homelab.key ]; then
  (umask 077 && cat $boot/homelab.key >$key.new)
  ssh-keygen -y -f $key.new >$key.pub.new
  chmod 0644 $key.pub.new
  rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
  mv $key.new $key
  mv $key.pub.new $key.pub
fi
systemctl enable ssh.service
systemctl restart --no-block ssh.service

# From here on the platform looks after the host: cloud-init would only get in its way.
touch /etc/cloud/cloud-init.disabled
rm -f $boot/homelab.key $boot/network-config
sync
