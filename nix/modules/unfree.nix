# Unfree packages that the lab allows, by the names that people use: nixpkgs asks for the name of each package.
{ config, lib, ... }:
let
  names = config.homelab.unfree;
  # What a name lets through besides itself: exact names, and beginnings of names.
  known = {
    steam.exact = [ "steam" "steam-original" "steam-run" "steam-unwrapped" ];
    parsec.exact = [ "parsec-bin" ];
    nvidia.exact = [ "nvidia-x11" "nvidia-settings" "nvidia-persistenced" ];
    nvidia-x11.exact = [ "nvidia-x11" "nvidia-settings" "nvidia-persistenced" ];
    cuda.starts = [ "cuda" "cudnn" "cutensor" "libcu" "libnpp" "libnv" "libcurand" "libcusolver" "nccl" "tensorrt" ];
  };
  allowed =
    package:
    let
      name = lib.getName package;
      by =
        said:
        said == name
        || lib.elem name (known.${said}.exact or [ ])
        || lib.any (start: lib.hasPrefix start name) (known.${said}.starts or [ ]);
    in
    lib.any by names;
in
{
  nixpkgs.config = lib.mkIf (names != [ ]) { allowUnfreePredicate = allowed; };
}
