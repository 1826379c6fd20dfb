# Which Raspberry Pi a host is for nixos-raspberrypi (`3`, `4`, `5`, `02` for a Zero 2), null for another machine.
# Boards are named pi5-8gb; a compute module is the Pi of its number.
{ lib }:
host:
let
  kinds = {
    "pi-zero-2" = "02";
    pi3 = "3";
    pi4 = "4";
    pi5 = "5";
    cm4 = "4";
    cm5 = "5";
  };
  match = lib.filter (start: lib.hasPrefix start host.board) (lib.attrNames kinds);
in
if match == [ ] then null else kinds.${lib.head match}
