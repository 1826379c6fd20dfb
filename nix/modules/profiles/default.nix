# Ready-made sets of packages and settings, by the names that a lab gives them: one module each.
{
  imports = [
    ./3d-printing.nix
    ./bluetooth.nix
    ./cad.nix
    ./cuda.nix
    ./desktop.nix
    ./development.nix
    ./editors.nix
    ./electronics.nix
    ./energy-saving.nix
    ./gaming.nix
    ./graphics-tablet.nix
    ./hardened.nix
    ./headless.nix
    ./hyprland.nix
    ./i3.nix
    ./laptop.nix
    ./multimedia.nix
    ./sdr.nix
    ./streaming.nix
    ./virtualisation.nix
    ./zram.nix
  ];
}
