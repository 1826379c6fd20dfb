# ZFS: pools of the lab on this host, scrub, snapshots, copies to another host. A pool is made once, by a person who
# types its name (`homelab-pool`); until then nothing waits for it.
{ config, lib, pkgs, options, ... }:
let
  inherit (lib) mkDefault;
  inherit (config.homelab) lab host secrets;
  o = import ../../lib/options.nix { inherit lib; };
  cfg = config.homelab.services.zfs;
  pools = lib.filterAttrs (_: pool: pool.host == host.name) (lab.storage.zfs or { });
  names = lib.attrNames pools;
  marks = "/var/lib/homelab/pools";
  datasets = lib.concatMapAttrs (
    pool: said: lib.mapAttrs' (path: value: { name = "${pool}/${path}"; inherit value; }) said.datasets
  ) pools;
  snapped = lib.filterAttrs (_: dataset: (dataset.snapshots or "none") != "none" && (dataset.snapshots or null) != null) datasets;
  deviceOf = disk: if host.disks.${disk}.device != null then host.disks.${disk}.device else "/dev/disk/by-partlabel/${disk}";
  layout = pool: lib.optional (pool.layout != "single") pool.layout ++ map deviceOf pool.disks;
  sends = lib.concatMapAttrs (
    pool: said:
    lib.listToAttrs (
      lib.concatMap (
        target:
        let
          to = builtins.match "ssh://([^/]+)/(.*)" lab.targets.${target}.url;
        in
        lib.optionals (to != null) (
          map (path: {
            name = "${pool}/${path}@${target}";
            value = {
              inherit target;
              source = "${pool}/${path}";
              destination = "${lib.head to}:${lib.last to}/${path}";
            };
          }) (lib.attrNames said.datasets)
        )
      ) said.send_to
    )
  ) pools;
  targets = lib.unique (map (send: send.target) (lib.attrValues sends));
in
{
  options.homelab.services.zfs = {
    enable = o.enable "ZFS";
    arc = o.number 1073741824 "Most memory that its cache may take, in bytes.";
    host_id = o.maybe "Eight hex digits; made from the host's name when not said.";
    scrub = o.text "monthly" "How often all data is read.";
    trim = o.flag true "Whether SSDs are told what is free.";
    snapshots = o.flag true "Whether datasets are snapshotted as storage.zfs says.";
  };

  config = lib.mkIf cfg.enable {
    networking.hostId = mkDefault (
      if cfg.host_id != null then cfg.host_id else lib.substring 0 8 (builtins.hashString "sha256" host.name)
    );
    boot.supportedFilesystems.zfs = true;
    boot.zfs = {
      forceImportRoot = mkDefault false;
      extraPools = names;
    };
    boot.extraModprobeConfig = "options zfs zfs_arc_max=${toString cfg.arc}";
    services.zfs = {
      autoScrub = lib.mkIf (cfg.scrub != "never") {
        enable = true;
        interval = mkDefault cfg.scrub;
        pools = names;
      };
      trim.enable = mkDefault cfg.trim;
    };

    # A pool that was never made must not fail the host: its mark is laid down by homelab-pool.
    systemd.services = lib.listToAttrs (
      map (pool: {
        name = "zfs-import-${pool}";
        value.unitConfig.ConditionPathExists = "${marks}/${pool}";
      }) names
    );
    systemd.tmpfiles.rules = [ "d ${marks} 0755 root root -" ];
    environment.systemPackages = lib.mkIf (names != [ ]) [
      (pkgs.writeShellApplication {
        name = "homelab-pool";
        runtimeInputs = [ config.boot.zfs.package pkgs.util-linux ];
        text = import ../../lib/pool-script.nix { inherit lib pools layout marks; };
      })
    ];

    services.sanoid = lib.mkIf (cfg.snapshots && snapped != { }) {
      enable = true;
      templates = {
        hourly = { hourly = 24; daily = 7; monthly = 1; autosnap = true; autoprune = true; };
        daily = { hourly = 0; daily = 14; monthly = 3; autosnap = true; autoprune = true; };
        weekly = { hourly = 0; daily = 0; weekly = 8; monthly = 3; autosnap = true; autoprune = true; };
      };
      datasets = lib.mapAttrs (_: dataset: { useTemplate = [ dataset.snapshots ]; }) snapped;
    };
    services.syncoid = lib.mkIf (sends != { }) {
      enable = true;
      sshKey = secrets."syncoid-${lib.head targets}".path;
      commands = lib.mapAttrs (_: send: {
        inherit (send) source;
        target = send.destination;
        sshKey = secrets."syncoid-${send.target}".path;
      }) sends;
    };
    homelab.secrets = lib.genAttrs (map (target: "syncoid-${target}") targets) (name: {
      owner = "syncoid";
      sources = lib.optionalAttrs (lab.targets.${lib.removePrefix "syncoid-" name}.credentials ? key) {
        value = lab.targets.${lib.removePrefix "syncoid-" name}.credentials.key;
      };
    });
    # Datasets that the lab shares.
    homelab.services.samba.shares = lib.mapAttrs' (path: _: {
      name = lib.last (lib.splitString "/" path);
      value = mkDefault "/${path}";
    }) (lib.filterAttrs (_: dataset: (dataset.share or "none") == "samba") datasets);
    homelab.services.nfs-server.exports = lib.mapAttrs' (path: _: {
      name = "/${path}";
      value = mkDefault (if lab.network.lan == null then "*" else lab.network.lan);
    }) (lib.filterAttrs (_: dataset: (dataset.share or "none") == "nfs") datasets);
  };
}
