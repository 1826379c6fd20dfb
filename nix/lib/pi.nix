# Which Raspberry Pi a host is (`3`, `4`, `5`, `02` for a Zero 2), null for another machine. Boards are named pi5-8gb.
{ lib }:
host:
let
  known = lib.filter (name: lib.hasPrefix "pi${name}" host.board) [ "3" "4" "5" ];
in
if lib.hasPrefix "pizero2" host.board || lib.hasPrefix "pi02" host.board then
  "02"
else if known == [ ] then
  null
else
  lib.head known
