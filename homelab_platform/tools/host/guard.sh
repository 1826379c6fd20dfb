#!/bin/sh
# Keeps a host from being locked out by its own deploy. Installed as /usr/local/lib/homelab/guard (on NixOS in
# /var/lib/homelab) before anything else is changed. Needs a POSIX shell, coreutils, tar, util-linux and systemd.
#
#   begin TOKEN WHO WHERE PID SECONDS KIND   take the lock, save what the deploy may touch, arm homelab-rollback.timer
#   extend TOKEN SECONDS                     the controller lives: put the rollback off
#   switch TOKEN SYSTEM                      NixOS: try a system, in a unit of its own that outlives this connection
#   switched TOKEN                           how that went: code=N and its last words; exit code 11 while it runs
#   confirm TOKEN                            keep the change; what is read from standard input becomes applied.json
#   rollback TOKEN REASON                    put everything back now
#   tick                                     what the timer runs: put it back once the time is over or after a restart
#   status                                   lock, rest of the time and last outcome, one name=value per line
#
# `begin` of kind `files` reads from standard input what the deploy may write, one claim a line: `path PATTERN` below /,
# `unit PATTERN`, `account NAME`, `group NAME`; PATTERN as the shell's, `*` for all. Undoing touches nothing else: what
# others write meanwhile stays.
# KIND is `files` (Debian: /etc, packages, our firewall table, units) or `nixos` (the running system profile).
# Time is that of /proc/uptime: a clock that jumps neither shortens nor lengthens it.
# Exit codes: 0 done, 28 no room, 75 another deploy is under way (who, on standard output), 76 this deploy is over.
set -u
umask 077
export LC_ALL=C PATH=/run/current-system/sw/bin:/usr/sbin:/usr/bin:/sbin:/bin
STATE=${HOMELAB_STATE:-/var/lib/homelab}
DEPLOY=$STATE/deploy
LOCK=$DEPLOY/lock
SAVED=$DEPLOY/saved
SELF=$STATE/guard
TABLE=homelab
UNIT=homelab-rollback
PROFILE=/nix/var/nix/profiles/system
WATCHED="etc usr/local/lib/homelab var/lib/homelab/managed.json var/lib/homelab/secrets var/lib/homelab/secrets.json usr/local/bin/k3s boot/firmware/cmdline.txt boot/cmdline.txt"
# What the system itself rewrites at any time is not ours to put back.
LEAVE="--exclude=etc/mtab --exclude=etc/resolv.conf --exclude=etc/adjtime --exclude=etc/ld.so.cache
 --exclude=etc/systemd/system/$UNIT.* --exclude=etc/systemd/system/*/$UNIT.*"

up() { cut -d. -f1 /proc/uptime; }
boot() { cat /proc/sys/kernel/random/boot_id; }
said() { sed -n "s/^$1=//p" "$LOCK/info" 2>/dev/null; }
note() { echo "$(date -u +%Y-%m-%dT%H:%M:%SZ) $*" >>"$DEPLOY/log"; }
write() { cat >"$1.new" && sync "$1.new" 2>/dev/null; mv "$1.new" "$1"; }
exclusive() { exec 9>"$DEPLOY/turn"; flock -w 300 9 || { echo "another step of this deploy does not end" >&2; exit 1; }; }

paths() { for path in $WATCHED; do [ -e "/$path" ] && echo "$path"; done; }
active() { systemctl list-units --type=service --state=active --no-legend --plain | cut -d' ' -f1 | sort; }
packages() { dpkg-query --show --showformat '${Package}:${Architecture}=${Version} ${db:Status-Status}\n' | sort; }

holder() {
  echo "who=$(said who)"; echo "where=$(said where)"; echo "pid=$(said pid)"; echo "since=$(said since)"
  echo "token=$(said token)"; echo "rest=$(rest)"
}

rest() {
  [ "$(said boot)" = "$(boot)" ] || { echo 0; return; }
  left=$(($(cat "$DEPLOY/deadline" 2>/dev/null || echo 0) - $(up)))
  [ $left -gt 0 ] && echo $left || echo 0
}

begin() {
  token=$1 who=$2 where=$3 pid=$4 seconds=$5 kind=$6
  mkdir -p "$DEPLOY" && chmod 755 "$STATE" || exit 28
  exclusive
  # A lock whose time is over, or from before a restart, belongs to a controller that died: undo its work first.
  [ -d "$LOCK" ] && [ "$(rest)" = 0 ] && undo "the deploy of $(said who) at $(said where) never ended"
  [ -d "$LOCK" ] && { holder; exit 75; }
  rm -rf "$LOCK.new" "$SAVED" "$DEPLOY/armed"
  : >"$DEPLOY/log"
  if [ "$kind" = files ]; then
    need=$(cd / && du -skc $(paths) | tail -1 | cut -f1)
    free=$(df -Pk "$STATE" | awk 'NR == 2 {print $4}')
    [ "$free" -gt $((need + 8192)) ] || { echo "$STATE: $free KiB free: No space left on device" >&2; exit 28; }
  fi
  mkdir "$SAVED" "$LOCK.new" || exit 28
  [ "$kind" = nixos ] || cat >"$SAVED/claims" || exit 28
  ballast || { rm -rf "$SAVED" "$LOCK.new" "$DEPLOY/ballast"; echo "$STATE: No space left on device" >&2; exit 28; }
  save_$kind || { rm -rf "$SAVED" "$LOCK.new" "$DEPLOY/ballast"; echo "$STATE: cannot save: No space left on device" >&2; exit 28; }
  echo "$kind" >"$SAVED/kind" && sync
  echo $(($(up) + seconds)) >"$DEPLOY/deadline"
  printf 'token=%s\nwho=%s\nwhere=%s\npid=%s\nsince=%s\nboot=%s\n' "$token" "$who" "$where" "$pid" \
    "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$(boot)" >"$LOCK.new/info"
  mv "$LOCK.new" "$LOCK" && : >"$DEPLOY/armed" && sync
  arm "$kind" || { rm -rf "$DEPLOY/armed" "$LOCK"; echo "the timer $UNIT does not start" >&2; exit 1; }
  note "armed by $who at $where, $seconds s"
}

# Room that undoing takes on a disk that the deploy filled. Not of zeros, which some file systems do not store.
ballast() {
  fallocate -l 4194304 "$DEPLOY/ballast" 2>/dev/null || head -c 4194304 /dev/urandom >"$DEPLOY/ballast"
}

arm() {
  units=/etc/systemd/system
  [ "$1" = nixos ] && units=/run/systemd/system
  mkdir -p $units
  write $units/$UNIT.service <<END
[Unit]
Description=Undo a deploy that nobody confirmed
[Service]
Type=oneshot
Environment=HOMELAB_STATE=$STATE
ExecStart=/bin/sh $SELF tick
END
  write $units/$UNIT.timer <<END
[Unit]
Description=Watches over a deploy until it is confirmed
[Timer]
OnActiveSec=2
OnUnitInactiveSec=3
AccuracySec=1
[Install]
WantedBy=timers.target
END
  chmod 644 $units/$UNIT.*
  systemctl daemon-reload
  # On NixOS /etc is not ours, and a restart brings the last confirmed generation anyway.
  [ "$1" = nixos ] || systemctl --quiet enable $UNIT.timer
  systemctl restart $UNIT.timer
}

disarm() {
  rm -f "$DEPLOY/armed" "$DEPLOY/ballast"
  systemctl --quiet disable $UNIT.timer 2>/dev/null
  systemctl --quiet --no-block stop $UNIT.timer
}

save_files() {
  # shellcheck disable=SC2046,SC2086 # a list of plain paths
  (cd / && tar --create --file "$SAVED/files.tar" $LEAVE $(paths)) 2>/dev/null || return 1
  tar --list --file "$SAVED/files.tar" | sed 's,/$,,' | sort >"$SAVED/names" || return 1
  packages >"$SAVED/packages" && active >"$SAVED/active" || return 1
  nft --stateless list table inet $TABLE >"$SAVED/table" 2>/dev/null || rm -f "$SAVED/table"
}

save_nixos() {
  readlink -f /run/current-system >"$SAVED/system" && active >"$SAVED/active" || return 1
  # The generation that starts next: keeping is two writes, and the second may fail.
  { readlink "$PROFILE" || true; } >"$SAVED/generation"
}

switch() {
  exclusive
  [ -e "$DEPLOY/armed" ] && [ "$(said token)" = "$1" ] || exit 76
  room "$2" || exit 28
  rm -f "$DEPLOY/switch.code" "$DEPLOY/switch.log"
  systemctl reset-failed homelab-switch.service 2>/dev/null
  # Not in this session: a switch that restarts the network or the tunnel would end with it.
  systemd-run --quiet --collect --no-ask-password --unit=homelab-switch --service-type=exec \
    --setenv=HOMELAB_DEPLOY="$1" --setenv=PATH="$PATH" /bin/sh -c \
    '"$1/bin/switch-to-configuration" test >"$2.log" 2>&1; echo $? >"$2.new"; mv "$2.new" "$2.code"' \
    sh "$2" "$DEPLOY/switch"
}

switched() {
  [ "$(said token)" = "$1" ] || exit 76
  if [ -e "$DEPLOY/switch.code" ]; then
    echo "code=$(cat "$DEPLOY/switch.code")"
  elif systemctl --quiet is-active homelab-switch.service; then
    exit 11
  elif [ -e "$DEPLOY/switch.code" ]; then # it ended between the two looks
    echo "code=$(cat "$DEPLOY/switch.code")"
  else
    echo code=137
  fi
  tail -n 20 "$DEPLOY/switch.log" 2>/dev/null
  return 0
}

# Whether the places that start the machine can hold one system more. A full one makes every later switch fail.
room() {
  for place in /boot/firmware /boot /efi; do
    mountpoint -q "$place" || continue
    [ "$place" != /boot/firmware ] && [ "$(readlink -f "$1/initrd")" = "$(readlink -f /run/current-system/initrd)" ] && continue
    need=$(du -Lskc "$1/kernel" "$1/initrd" "$1/dtbs" 2>/dev/null | tail -1 | cut -f1)
    free=$(df -Pk "$place" | awk 'NR == 2 {print $4}')
    [ "$free" -gt $((need + 1024)) ] && continue
    echo "$place: $free KiB free, the system needs $need: No space left on device" >&2
    return 1
  done
}

extend() {
  exclusive
  [ -e "$DEPLOY/armed" ] && [ "$(said token)" = "$1" ] || exit 76
  echo $(($(up) + $2)) >"$DEPLOY/deadline.new" && mv "$DEPLOY/deadline.new" "$DEPLOY/deadline"
}

confirm() {
  exclusive
  [ -e "$DEPLOY/armed" ] && [ "$(said token)" = "$1" ] || exit 76
  [ "$(said boot)" = "$(boot)" ] || { undo "the host was restarted in the middle of the deploy"; exit 76; }
  cat >"$STATE/applied.json.new" && chmod 644 "$STATE/applied.json.new" && sync || exit 28
  [ "$(cat "$SAVED/kind")" = nixos ] && { keep_nixos || { echo "the generation cannot be kept" >&2; exit 1; }; }
  mv "$STATE/applied.json.new" "$STATE/applied.json"
  disarm
  note confirmed
  printf 'token=%s\noutcome=confirmed\nreason=\n' "$1" | write "$DEPLOY/last"
  rm -rf "$SAVED" "$LOCK"
}

keep_nixos() {
  system=$(readlink -f /run/current-system)
  nix-env --profile "$PROFILE" --set "$system" && "$system/bin/switch-to-configuration" boot >&2
}

rollback() {
  exclusive
  [ -d "$LOCK" ] && [ "$(said token)" = "$1" ] || exit 76
  undo "$2"
}

tick() {
  exclusive
  [ -e "$DEPLOY/armed" ] || { disarm; exit 0; }
  [ "$(said boot)" = "$(boot)" ] || { undo "the host was restarted in the middle of the deploy"; exit 0; }
  [ "$(rest)" = 0 ] && undo "the controller did not confirm in time over a new connection"
  exit 0
}

# Put everything back. Called with the turn held; may be repeated after being cut off at any point.
undo() {
  token=$(said token)
  stop_deploy "$token"
  rm -f "$DEPLOY/ballast"
  note "undoing: $1"
  left=
  if [ -e "$SAVED/kind" ]; then undo_"$(cat "$SAVED/kind")" >>"$DEPLOY/log" 2>&1 || left=incomplete; fi
  note "undone ${left:-completely}"
  printf 'token=%s\noutcome=%s\nreason=%s\n' "$token" "${left:-rolled-back}" "$1" | write "$DEPLOY/last"
  rm -rf "$SAVED" "$LOCK"
  disarm
}

# Whatever the deploy still runs here carries its token in its environment.
stop_deploy() {
  [ -n "$1" ] || return 0
  for environ in $(grep -l --null-data --fixed-strings --line-regexp "HOMELAB_DEPLOY=$1" /proc/[0-9]*/environ 2>/dev/null); do
    pid=${environ#/proc/}; pid=${pid%/environ}
    [ "$pid" = $$ ] || kill -KILL "$pid" 2>/dev/null
  done
}

undo_files() {
  active >"$SAVED/active.now"
  undo_packages
  # Units that the deploy brought are stopped while their files still say how.
  comm -13 "$SAVED/active" "$SAVED/active.now" | grep -v "^$UNIT" | while read -r unit; do
    grep -qF "/$unit" "$SAVED/names" || { [ -e "/etc/systemd/system/$unit" ] && mine unit "$unit" && systemctl stop "$unit"; }
    # A purged package may leave its service running, with its program gone.
    [ -s "$SAVED/purged" ] && [ ! -e "$(systemctl show --property=FragmentPath --value "$unit")" ] && systemctl stop "$unit"
  done
  undo_accounts
  changed >"$SAVED/changed"
  undo_names
  systemctl daemon-reload
  nft delete table inet $TABLE 2>/dev/null
  [ -e "$SAVED/table" ] && nft --file "$SAVED/table"
  [ -e /etc/hostname ] && hostname "$(cat /etc/hostname)"
  restart_units
  [ -z "$(changed)" ] || { echo "still different:"; changed; return 1; }
}

# Whether the deploy claimed this: mine path NAME, mine unit NAME.
mine() {
  while read -r kind pattern; do
    # shellcheck disable=SC2254 # a pattern
    case $kind in
      path) [ "$1" = path ] && case $2 in $pattern) return 0 ;; esac ;;
      unit)
        [ "$1" = unit ] && case $2 in $pattern) return 0 ;; esac
        [ "$1" = path ] && case $2 in etc/systemd/system/$pattern | etc/systemd/system/*.wants/$pattern) return 0 ;; esac
        ;;
    esac
  done <"$SAVED/claims"
  return 1
}
only_mine() { while read -r name; do mine path "$name" && echo "$name"; done; return 0; }
claimed() { sed -n "s/^$1 //p" "$SAVED/claims"; }
saved() { tar --extract --to-stdout --file "$SAVED/files.tar" "$1" 2>/dev/null; }

# Names of claimed files that are not as they were saved, or gone.
changed() {
  (cd / && tar --compare --file "$SAVED/files.tar" 2>&1) |
    sed -n -E 's,^(tar: )?([^:]+): (Warning: Cannot stat.*|Contents differ|Size differs|Mode differs|Uid differs|Gid differs|Symlink differs|File type differs|Not linked to .*|Cannot open.*)$,\2,p' |
    sort -u | only_mine
}

undo_names() {
  # shellcheck disable=SC2046,SC2086
  (cd / && tar --create --file - $LEAVE $(paths) 2>/dev/null | tar --list | sed 's,/$,,' | sort) >"$SAVED/names.now"
  comm -13 "$SAVED/names" "$SAVED/names.now" | only_mine | sort -r | while read -r name; do
    if [ -d "/$name" ] && [ ! -L "/$name" ]; then rmdir "/$name" 2>/dev/null; else rm -f "/$name"; fi && echo "removed /$name"
  done
  if [ -s "$SAVED/changed" ]; then
    sed 's,^,put back /,' "$SAVED/changed"
    (cd / && tar --extract --preserve-permissions --same-owner --unlink-first --recursive-unlink --no-recursion \
      --file "$SAVED/files.tar" --files-from "$SAVED/changed")
  fi
}

# Lines of the deploy's accounts as they were, those of others as they are now.
undo_accounts() {
  claimed account | grep -qxF '*' && return 0 # then the files themselves are claimed
  accounts="$(claimed account | tr '\n' ' ')$(brought passwd)"
  groups="$(claimed group | tr '\n' ' ')$(brought group)"
  for file in passwd shadow subuid subgid; do
    merge "$file" 'function known(name) { return name in account }
      FNR == NR { was[$1] = $0; order[++count] = $1; next }
      { seen[$1]; if (!known($1)) print; else if ($1 in was) print was[$1] }
      END { for (i = 1; i <= count; i++) if (!(order[i] in seen) && known(order[i])) print was[order[i]] }'
  done
  for file in group gshadow; do
    merge "$file" 'function known(name) { return (name in group) || (name in account) }
      # The members of others now, and of the deploy as they were; the line of old where that is the same.
      function mixed(old, now,   o, n, i, all, same, head) {
        split(old, f, ":"); split(f[4], o, ","); split(now, g, ":"); split(g[4], n, ",")
        for (i = 1; i in n; i++) if (n[i] != "" && !(n[i] in account)) all = all "," n[i]
        for (i = 1; i in o; i++) if (o[i] in account) all = all "," o[i]
        head = known(g[1]) ? f[1] ":" f[2] ":" f[3] : g[1] ":" g[2] ":" g[3]
        all = substr(all, 2); same = sorted(all) == sorted(f[4])
        return head ":" (same ? f[4] : all)
      }
      function sorted(text,   p, i, j, t, c, out) {
        c = split(text, p, ",")
        for (i = 1; i <= c; i++) for (j = i + 1; j <= c; j++) if (p[j] < p[i]) { t = p[i]; p[i] = p[j]; p[j] = t }
        for (i = 1; i <= c; i++) out = out "," p[i]
        return out
      }
      FNR == NR { was[$1] = $0; order[++count] = $1; next }
      { seen[$1]; if ($1 in was) print mixed(was[$1], $0); else if (!known($1)) print }
      END { for (i = 1; i <= count; i++) if (!(order[i] in seen) && known(order[i])) print was[order[i]] }'
  done
}

# System accounts and groups that came while packages of the deploy were installed, which purging leaves.
brought() {
  [ -s "$SAVED/purged" ] || return 0
  saved "etc/$1" | cut -d: -f1 | sort >"$SAVED/was.$1"
  awk -F: '$3 < 1000 { print $1 }' "/etc/$1" | sort | comm -13 "$SAVED/was.$1" - | tr '\n' ' '
}

merge() {
  [ -e "/etc/$1" ] || return 0
  saved "etc/$1" >"$SAVED/$1.was" || return 0
  awk -F: -v accounts="$accounts" -v groups="$groups" 'BEGIN {
    c = split(accounts, list, " "); for (i = 1; i <= c; i++) account[list[i]]
    c = split(groups, list, " "); for (i = 1; i <= c; i++) group[list[i]]
  } '"$2" "$SAVED/$1.was" "/etc/$1" >"$SAVED/$1.merged" || return 1
  cmp -s "$SAVED/$1.merged" "/etc/$1" && return 0
  cat "$SAVED/$1.merged" >"/etc/$1" && echo "accounts of the deploy put back in /etc/$1"
}

undo_packages() {
  dpkg --audit 2>/dev/null | grep -q . && dpkg --configure --pending
  packages >"$SAVED/packages.now"
  now=$(comm -13 "$SAVED/packages" "$SAVED/packages.now" | sed -n 's/=.* installed$//p')
  was=$(comm -23 "$SAVED/packages" "$SAVED/packages.now" | sed -n 's/=.* installed$//p')
  new=$(for name in $now; do echo "$was" | grep -qxF "$name" || echo "$name"; done)
  gone=$(for name in $was; do echo "$now" | grep -qxF "$name" || echo "$name"; done)
  if [ -n "$new" ]; then
    echo "$new" >"$SAVED/purged"
    # What they brought to /etc is the deploy's too, folders that were not there with all that is in them.
    # shellcheck disable=SC2086
    dpkg --listfiles $new 2>/dev/null | sed -n 's,^/\(etc/.*\),\1,p' | sort -u | while read -r name; do
      echo "path $name"
      [ -d "/$name" ] && ! grep -qxF "$name" "$SAVED/names" && echo "path $name/*"
    done >>"$SAVED/claims"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive dpkg --purge $new
  fi
  # shellcheck disable=SC2086
  [ -z "$gone" ] || DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 --yes install $gone
}

# Services whose files were put back read them again; those of the deploy that ran before run again.
restart_units() {
  systemctl reset-failed 2>/dev/null
  while read -r unit; do
    name=${unit%.service}
    if ! systemctl --quiet is-active "$unit"; then
      mine unit "$unit" && systemctl --no-block start "$unit"
    elif [ "$unit" = ssh.service ]; then
      /usr/sbin/sshd -t && systemctl reload-or-restart ssh.service
    elif grep -qE "(/|^)(${name}|${name#prometheus-})(\.|/|$)|default/$name\$" "$SAVED/changed"; then
      systemctl try-restart "$unit"
    fi
  done <"$SAVED/active"
}

undo_nixos() {
  system=$(cat "$SAVED/system")
  systemctl stop homelab-switch.service 2>/dev/null
  "$system/bin/switch-to-configuration" test
  code=$?
  [ "$(readlink -f /run/current-system)" = "$system" ] || return 1
  undo_profile || return 1
  # 4: the system runs, but a unit of it does not; it did not before either
  [ $code = 0 ] || [ $code = 4 ]
}

# The generation that starts next is the one from before, and the boot loader knows it.
undo_profile() {
  was=$(cat "$SAVED/generation" 2>/dev/null)
  [ -n "$was" ] && [ "$(readlink "$PROFILE")" != "$was" ] || return 0
  number=${was##*system-} number=${number%-link}
  nix-env --profile "$PROFILE" --switch-generation "$number" || return 1
  "$(readlink -f "$PROFILE")/bin/switch-to-configuration" boot
  [ "$(readlink "$PROFILE")" = "$was" ]
}

status() {
  [ -d "$LOCK" ] && holder && [ -e "$DEPLOY/armed" ] && echo armed=yes
  sed 's/^/last-/' "$DEPLOY/last" 2>/dev/null
  return 0
}

verb=$1
shift
case $verb in
  begin | extend | switch | switched | confirm | rollback | tick | status) "$verb" "$@" ;;
  log) cat "$DEPLOY/log" ;;
  *) echo "guard: unknown: $verb" >&2; exit 64 ;;
esac
