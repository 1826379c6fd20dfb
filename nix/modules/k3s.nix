# The host's part in the cluster. A lab may have none, so nothing here may look into it outside of a value.
{ lib, pkgs, lab, host, ... }:
let
  inherit (lab) cluster;
  first = lib.head cluster.servers;
  isServer = host.k3s == "server";
  isFirst = host.name == first;
  api = if cluster.api_address != null then cluster.api_address else "${first}.${lab.network.domain}";
  inherit (cluster.settings.api) names port;
  # The minor version that the lab names; nixpkgs' own k3s where it has that one no longer. The asset `cluster` shows
  # which one runs.
  minor = lib.concatStringsSep "_" (builtins.match "v?([0-9]+)[.]([0-9]+).*" cluster.version);
  pinned = builtins.tryEval (pkgs."k3s_${minor}" or pkgs.k3s);
  flag = name: value: "--${name}=${value}";
  serverFlags = [
    (flag "cluster-cidr" lab.network.pod_cidr)
    (flag "service-cidr" lab.network.service_cidr)
    (flag "https-listen-port" (toString port))
    (flag "write-kubeconfig-mode" "0640")
  ]
  ++ map (flag "tls-san") (lib.unique ([ api ] ++ names))
  ++ cluster.settings.server_flags;
  unmet = lib.attrNames (lib.filterAttrs (_: asked: asked) {
    "an external datastore" = cluster.datastore == "external";
    "audit logs" = cluster.settings.audit;
    "images from a local store only" = cluster.settings.air_gapped;
    "registry mirrors" = cluster.settings.registries != { };
    "sign-in by OpenID Connect" = cluster.settings.oidc;
    "the runtime ${cluster.settings.runtime}" = cluster.settings.runtime != "containerd";
  });
in
{
  config = lib.mkIf (host.k3s != null) {
    assertions = [
      {
        assertion = unmet == [ ];
        message = "${host.name}: nix/ has no way yet for k3s with ${lib.concatStringsSep ", " unmet}. Take it out of the lab file; flags of k3s can be said in cluster.server_flags.";
      }
    ];

    services.k3s = {
      enable = true;
      package = if pinned.success then pinned.value else pkgs.k3s;
      role = host.k3s;
      nodeName = host.name;
      nodeIP = host.address;
      nodeLabel = lib.mapAttrsToList (name: value: "${name}=${value}") host.labels;
      nodeTaint = host.taints;
      gracefulNodeShutdown.enable = true;
      extraKubeletConfig = cluster.settings.kubelet;
      extraFlags = if isServer then serverFlags else cluster.settings.agent_flags;
      disable = lib.mkIf isServer cluster.disabled;
      clusterInit = isServer && isFirst && cluster.datastore == "etcd";
      serverAddr = lib.mkIf (!isFirst) "https://${api}:${toString port}";
      # A file: an option's value would lie in the store, where everybody may read it.
      tokenFile = lib.mkIf (lib.length (cluster.servers ++ cluster.agents) > 1) "/var/lib/homelab/secrets/k3s-token";
    };

    # What pods reach of the node itself; the ports of the API, flannel and the kubelet are rules of lab.json.
    networking.firewall.trustedInterfaces = [ "cni0" ];
  };
}
