# The script that makes a host's ZFS pools: it shows the disks, asks for the pool's name, and never touches a pool that
# is there. A pool that another system made is taken over as it is.
{ lib, pools, layout, marks }:
let
  q = lib.escapeShellArg;
  make = name: pool: ''
    ${q name})
      disks=(${lib.concatMapStringsSep " " q (layout pool)})
      datasets=(${lib.concatMapStringsSep " " q (lib.attrNames pool.datasets)})
      ;;
  '';
in
''
  pool=''${1:-}
  case "$pool" in
  ${lib.concatStrings (lib.mapAttrsToList make pools)}
  *)
    echo "usage: homelab-pool ${lib.concatStringsSep "|" (lib.attrNames pools)}" >&2
    exit 1
    ;;
  esac
  if ! zpool list -H -o name "$pool" >/dev/null 2>&1; then
    if zpool import 2>/dev/null | grep -q "pool: $pool\$"; then
      zpool import -N "$pool"
    else
      lsblk --output NAME,SIZE,MODEL,FSTYPE,MOUNTPOINTS
      echo "This makes the pool $pool of: ''${disks[*]}. Whatever is on these disks is lost."
      read -r -p "Type the name of the pool to go on: " answer
      [ "$answer" = "$pool" ] || { echo "nothing was changed" >&2; exit 1; }
      zpool create -o ashift=12 -O compression=lz4 -O acltype=posixacl -O xattr=sa -O atime=off "$pool" "''${disks[@]}"
    fi
  fi
  for dataset in "''${datasets[@]}"; do
    zfs list -H "$pool/$dataset" >/dev/null 2>&1 || zfs create -p "$pool/$dataset"
  done
  touch ${q marks}/"$pool"
  zfs mount -a
  echo "$pool is there: $(zpool list -H -o size,health "$pool")"
''
