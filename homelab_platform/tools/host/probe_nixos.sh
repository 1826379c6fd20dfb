# What a NixOS host is like, one fact per line: kind, name, value, between them a tab. Runs on the host, from standard
# input, with a POSIX shell, coreutils and systemd; changes nothing. Read by layers/hosts/nixos.py.
export LC_ALL=C PATH=/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin
STATE=/var/lib/homelab
row() { printf '%s\t%s\t%s\n' "$1" "${2-}" "${3-}"; }

row system running "$(readlink -f /run/current-system)"
row system default "$(readlink -f /nix/var/nix/profiles/system)"
row booted "$(readlink -f /run/booted-system/kernel 2>/dev/null)"
row kernel-of-system "$(readlink -f /run/current-system/kernel 2>/dev/null)"
row os "$(sed -n 's/^PRETTY_NAME="\{0,1\}\([^"]*\)"\{0,1\}$/\1/p' /etc/os-release)"
row kernel "$(uname -r)"
[ -e $STATE/applied.json ] && row applied "$(tr -d '\n' <$STATE/applied.json)"
[ -e $STATE/guard ] && row guard "$(stat -c '%a %u:%g' $STATE/guard) $(sha256sum $STATE/guard | cut -c1-32)"
for unit in $(cat /etc/homelab/units 2>/dev/null); do
  row unit "$unit" "$(systemctl show --property=ActiveState --value "$unit")"
done
systemctl --failed --no-legend --plain | while read -r unit _; do row failed "$unit"; done
sh $STATE/guard status 2>/dev/null | while IFS='=' read -r name value; do row deploy "$name" "$value"; done
if [ "${1-}" = health ]; then
  for place in $(cat /etc/homelab/listen 2>/dev/null); do
    row answer "$place" "HTTP $(curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' "http://$place/metrics")"
  done
fi
row end
