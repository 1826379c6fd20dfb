# i3 on X, with what its usual key bindings start.
{ config, lib, pkgs, ... }:
let
  keyboard = config.homelab.host.system.keyboard or "us";
  # The console calls the British layout uk, X calls it gb.
  layout = if keyboard == "uk" then "gb" else keyboard;
in
{
  config = lib.mkIf (lib.elem "i3" config.homelab.profiles) {
    services.xserver = {
      enable = true;
      windowManager.i3.enable = true;
      xkb.layout = lib.mkDefault layout;
    };
    services.displayManager.defaultSession = lib.mkDefault "none+i3";
  };
}
