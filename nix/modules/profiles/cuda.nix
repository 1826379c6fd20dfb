# CUDA for programs that compute. The driver is the host service nvidia.
{ config, lib, pkgs, ... }:
{
  config = lib.mkIf (lib.elem "cuda" config.homelab.profiles) {
    environment.systemPackages = [
      pkgs.cudaPackages.cudatoolkit
      pkgs.nvtopPackages.nvidia
    ];
  };
}
