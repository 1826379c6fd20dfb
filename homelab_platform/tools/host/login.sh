# Whether people can log in to this host by SSH: each does, with a key made for this, which only this machine may use, for
# nothing but one line, and which goes at once. Runs on the host as root, from standard input; arguments: names.
# One line each: NAME and `ok`, or NAME and why not. Needs a POSIX shell, coreutils and OpenSSH.
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
umask 077
work=$(mktemp -d /run/homelab-login.XXXXXX) || exit 1
keys=
put_back() { [ -z "$keys" ] || { cat "$work/before" >"$keys"; keys=; }; }
trap 'put_back; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
ssh-keygen -q -t ed25519 -N '' -C homelab-login -f "$work/key" || exit 1
settings=$(/usr/sbin/sshd -T) || exit 1
place=$(echo "$settings" | sed -n 's/^listenaddress \(.*\):[0-9]*$/\1/p' | tr -d '[]' | head -1)
case $place in 0.0.0.0 | '') place=127.0.0.1 ;; ::) place=::1 ;; esac
port=$(echo "$settings" | sed -n 's/^port //p' | head -1)
for name in "$@"; do
  file=/etc/ssh/authorized_keys.d/$name
  [ -f "$file" ] || { echo "$name has no keys"; continue; }
  cp "$file" "$work/before" && keys=$file
  echo "restrict,from=\"127.0.0.1,::1,$place\",command=\"echo homelab-login\" $(cat "$work/key.pub")" >>"$file"
  said=$(ssh -F none -i "$work/key" -p "$port" -l "$name" -o BatchMode=yes -o IdentitiesOnly=yes -o IdentityAgent=none \
    -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o GlobalKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o ConnectTimeout=10 "$place" homelab-login </dev/null 2>&1)
  put_back
  case $said in *homelab-login) echo "$name ok" ;; *) echo "$name $(echo "$said" | tail -1)" ;; esac
done
