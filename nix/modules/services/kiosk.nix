# One page on the whole screen, without a person to start it.
{ config, lib, pkgs, ... }:
let
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.kiosk;
  # The screen's name differs from board to board: each one is turned.
  show = pkgs.writeShellScript "kiosk" ''
    ${lib.optionalString (cfg.rotate != 0) ''
      for output in $(${pkgs.wlr-randr}/bin/wlr-randr | ${pkgs.gawk}/bin/awk '/^[^ ]/ { print $1 }'); do
        ${pkgs.wlr-randr}/bin/wlr-randr --output "$output" --transform ${toString cfg.rotate}
      done
    ''}
    exec ${lib.getExe pkgs.chromium} --kiosk --no-first-run --disable-infobars --noerrdialogs \
      --ozone-platform=wayland ${lib.optionalString cfg.touch "--touch-events=enabled"} ${lib.escapeShellArg cfg.url}
  '';
in
{
  options.homelab.services.kiosk = {
    enable = o.enable "a kiosk";
    url = o.text "about:blank" "Page to show.";
    rotate = o.number 0 "Degrees by which the screen is turned.";
    touch = o.flag false "Whether it has a touch screen.";
  };
  config = lib.mkIf cfg.enable {
    services.cage = {
      enable = true;
      user = "kiosk";
      program = "${show}";
      extraArguments = [ "-d" ];
    };
    systemd.services.cage-tty1 = {
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      serviceConfig = {
        Restart = "always";
        RestartSec = 5;
      };
    };
    users.users.kiosk = {
      isNormalUser = true;
      extraGroups = [ "video" ];
    };
    hardware.graphics.enable = true;
    # Browsers outgrow a Pi's memory.
    zramSwap.enable = lib.mkDefault true;
  };
}
