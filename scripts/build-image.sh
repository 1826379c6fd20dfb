#!/usr/bin/env bash
# Builds the image that a NixOS host of a lab starts from the first time (SD card, ISO or disk image).
#   scripts/build-image.sh HOST [--lab FOLDER] [--builder auto|local|docker|ssh://USER@MACHINE] [--output FOLDER]
# local: this machine's nix, for its own processor, one that binfmt runs, or one of its remote builders.
# docker: nix in a container, its store kept in the volume homelab-nix; for the processor that Docker runs.
# ssh://…: this machine's nix, which has that machine build.
# Only a finished image gets its name; beside it lies its SHA-256. Nothing secret goes into an image.
set -euo pipefail
cd "$(dirname "$0")/.."
IMAGE=nixos/nix:2.28.3
NEEDED_GIB=${HOMELAB_IMAGE_GIB:-12}

say() { echo "build-image: $*" >&2; }
refuse() { say "$1"; [ -z "${2-}" ] || echo "    $2" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

usage="scripts/build-image.sh HOST [--lab FOLDER] [--builder auto|local|docker|ssh://USER@MACHINE] [--output FOLDER]"
host= lab=. builder=auto output=images
while [ $# -gt 0 ]; do
  case $1 in
    --lab | --builder | --output)
      [ $# -ge 2 ] || refuse "$1 needs a value" "$usage"
      printf -v "${1#--}" %s "$2"
      shift 2 ;;
    -h | --help) sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 0 ;;
    -*) refuse "$1 is no option" "$usage" ;;
    *) [ -z "$host" ] || refuse "one host at a time: $host or $1?" "$usage"; host=$1; shift ;;
  esac
done
[ -n "$host" ] || refuse "which host?" "$usage"
[ -x .venv/bin/homelab ] || refuse "the environment is not installed" "make setup"

work=${XDG_CACHE_HOME:-$HOME/.cache}/homelab-platform/images
mkdir -p "$work" "$output"
flake=$(mktemp -d "$work/flake.XXXXXX")
trap 'rm -rf "$flake"' EXIT
.venv/bin/python - "$lab" "$flake" <<'END' || refuse "the lab file of $lab cannot be used" "homelab check $lab"
import json, subprocess, sys
from pathlib import Path
from homelab_platform.lab.resolved import ResolvedLab
from homelab_platform.tools.nix import write_flake
shown = subprocess.run([".venv/bin/homelab", "show", "--lab", sys.argv[1], "--json"], stdout=subprocess.PIPE)
if shown.returncode:
    sys.exit(1)
write_flake(ResolvedLab.model_validate(json.loads(shown.stdout)), Path(sys.argv[2]))
END
lock=$work/$(.venv/bin/python -c 'import json, sys; print(json.load(open(sys.argv[1]))["name"])' "$flake/lab.json").flake.lock
[ ! -e "$lock" ] || cp "$lock" "$flake/flake.lock"

read -r arch kind known < <(.venv/bin/python - "$flake/lab.json" "$host" <<'END'
import json, sys
hosts = json.load(open(sys.argv[1]))["hosts"]
host = hosts.get(sys.argv[2])
nixos = " ".join(name for name, it in hosts.items() if it["os"] == "nixos") or "none"
kind = "absent" if host is None else host["os"] if host["os"] != "nixos" else host["settings"].get("image", "none")
print(host["arch"] if host else "-", kind, nixos)
END
)
case $kind in
  absent) refuse "the lab has no host $host" "Its NixOS hosts: $known" ;;
  raspios | debian | external) refuse "$host runs $kind: this builds images of NixOS hosts" "The lab's NixOS hosts: $known" ;;
  none) refuse "$host wants no image (image: none)" "Say image: sd, iso or qcow2 at the host." ;;
esac
case $arch in
  amd64) system=x86_64-linux platform=linux/amd64 ;;
  arm64) system=aarch64-linux platform=linux/arm64 ;;
  *) refuse "$host is $arch: NixOS has no binary cache for it, so its whole system would be compiled" "Give it Raspberry Pi OS (os: raspios)." ;;
esac

free_gib() { df -Pk "$1" | awk 'NR == 2 {print int($4 / 1048576)}'; }
[ "$(free_gib "$output")" -ge "$NEEDED_GIB" ] || refuse "$output has $(free_gib "$output") GiB free, an image and its parts need $NEEDED_GIB" "Make room, or name another --output."

machine=$(uname -m)
[ "$machine" != arm64 ] || machine=aarch64
native() { [ "$machine-linux" = "$system" ]; }
emulated() { grep -qs enabled "/proc/sys/fs/binfmt_misc/qemu-${system%-linux}"; }
delegated() {
  local builders
  builders=$(nix --extra-experimental-features nix-command show-config 2>/dev/null | sed -n 's/^builders = //p')
  case $builders in @*) [ -s "${builders#@}" ] ;; *) [ -n "$builders" ] ;; esac
}
local_can() { has nix && { native || emulated || delegated; }; }
docker_can() { has docker && docker info >/dev/null 2>&1 && { native || emulated || [ "$(uname)" = Darwin ]; }; }

why_not_local="nix is not installed here"
if has nix; then why_not_local="nix is here, but nothing that builds $system: neither this processor, binfmt nor a remote builder"; fi
case $builder in
  auto)
    if local_can; then builder=local
    elif docker_can; then builder=docker
    else
      refuse "nothing here can build $system for $host: $why_not_local, and Docker does not run it either" \
        "Install Docker with qemu-user-static, or name a machine: --builder ssh://you@a-machine-with-nix."
    fi ;;
  local) local_can || refuse "$why_not_local" "Try --builder docker, or --builder ssh://you@a-machine-with-nix." ;;
  docker) docker_can || refuse "Docker does not answer here, or cannot run $platform" "Start Docker; for another processor install qemu-user-static." ;;
  ssh://*)
    has nix || refuse "nix is not installed here, and it is needed to hand the work to $builder" "Install nix-bin."
    ssh -o BatchMode=yes -o ConnectTimeout=8 "${builder#ssh://}" nix-store --version >/dev/null ||
      refuse "${builder#ssh://} does not let us in, or has no nix" "Try: ssh ${builder#ssh://} nix-store --version" ;;
  *) refuse "$builder is no builder" "auto, local, docker or ssh://USER@MACHINE" ;;
esac

say "$host: $kind image for $system, built by $builder; the first time this takes an hour or more"
features=(--extra-experimental-features "nix-command flakes" --accept-flake-config --print-build-logs)
result=$flake/result
case $builder in
  local) nix build "${features[@]}" --out-link "$result" "path:$flake#images.$host" ;;
  ssh://*) nix build "${features[@]}" --builders "$builder $system" --max-jobs 0 --out-link "$result" "path:$flake#images.$host" ;;
  docker)
    mkdir "$flake/out"
    docker run --rm --platform "$platform" --volume homelab-nix:/nix --volume "$flake:/flake" "$IMAGE" sh -euc \
      "nix build ${features[0]} '${features[1]}' ${features[2]} ${features[3]} --out-link /tmp/result 'path:/flake#images.$host'
       cp -RL /tmp/result/. /flake/out/ && chmod -R a+rwX /flake/out /flake/flake.lock"
    result=$flake/out ;;
esac
[ ! -e "$flake/flake.lock" ] || cp "$flake/flake.lock" "$lock"

built=$(find -L "$result" -type f \( -name '*.img' -o -name '*.img.zst' -o -name '*.iso' -o -name '*.qcow2' -o -name '*.ova' -o -name '*.vhdx' \) | head -1)
[ -n "$built" ] || refuse "the build ended without an image" "Look into its output above."
case $built in *.img.zst) name=$host.img.zst ;; *) name=$host.${built##*.} ;; esac
cp --sparse=always "$built" "$output/.$name.part" 2>/dev/null || cp "$built" "$output/.$name.part"
[ "$(wc -c <"$built")" = "$(wc -c <"$output/.$name.part")" ] || refuse "the copy of the image is not whole" "Is $output full?"
[ "$(wc -c <"$output/.$name.part")" -gt 104857600 ] || refuse "the image is smaller than 100 MiB: something is missing in it"
sync "$output/.$name.part"
mv "$output/.$name.part" "$output/$name"
(cd "$output" && sha256sum "$name" >"$name.sha256")
say "done: $output/$name ($(du -h "$output/$name" | cut -f1))"
