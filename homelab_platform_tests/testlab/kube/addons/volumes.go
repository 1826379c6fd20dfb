package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v10/controller"
)

const provisionerName = "homelab.test/local-path"

// runVolumes makes a folder on the chosen node for each claim, as the local-path storage of k3s does. All nodes of the
// lab share one file system, so one process serves them all: FOLDER/NODE/VOLUME.
func runVolumes() {
	flags := flag.NewFlagSet("volumes", flag.ExitOnError)
	kubeconfig := flags.String("kubeconfig", "", "how to reach the cluster")
	folder := flags.String("folder", "", "where the volumes lie")
	_ = flags.Parse(os.Args[1:])
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		klog.Fatalf("%s cannot be used: %v", *kubeconfig, err)
	}
	ctx := context.Background()
	maker := &folderMaker{folder: *folder}
	controller.NewProvisionController(
		klog.FromContext(ctx), kubernetes.NewForConfigOrDie(config), provisionerName, maker,
		controller.LeaderElection(false),
	).Run(ctx)
}

// folderMaker makes and removes the folders behind volumes.
type folderMaker struct{ folder string }

// Provision makes the folder of a claim on the node that the scheduler chose.
func (m *folderMaker) Provision(
	_ context.Context, options controller.ProvisionOptions,
) (*core.PersistentVolume, controller.ProvisioningState, error) {
	if options.SelectedNode == nil {
		return nil, controller.ProvisioningFinished, fmt.Errorf("no node was chosen for the claim %s", options.PVC.Name)
	}
	node := options.SelectedNode.Name
	path := filepath.Join(m.folder, node, options.PVName)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return nil, controller.ProvisioningFinished, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // whatever the umask was: pods run as any user
		return nil, controller.ProvisioningFinished, err
	}
	return volume(options, node, path), controller.ProvisioningFinished, nil
}

func volume(options controller.ProvisionOptions, node, path string) *core.PersistentVolume {
	kind := core.HostPathDirectory
	here := core.NodeSelectorRequirement{
		Key: core.LabelHostname, Operator: core.NodeSelectorOpIn, Values: []string{node},
	}
	return &core.PersistentVolume{
		ObjectMeta: meta.ObjectMeta{Name: options.PVName},
		Spec: core.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *options.StorageClass.ReclaimPolicy,
			AccessModes:                   options.PVC.Spec.AccessModes,
			Capacity:                      core.ResourceList{core.ResourceStorage: options.PVC.Spec.Resources.Requests[core.ResourceStorage]},
			PersistentVolumeSource: core.PersistentVolumeSource{
				HostPath: &core.HostPathVolumeSource{Path: path, Type: &kind},
			},
			NodeAffinity: &core.VolumeNodeAffinity{Required: &core.NodeSelector{
				NodeSelectorTerms: []core.NodeSelectorTerm{{MatchExpressions: []core.NodeSelectorRequirement{here}}},
			}},
		},
	}
}

// Delete removes the folder of a volume that was given up.
func (m *folderMaker) Delete(_ context.Context, given *core.PersistentVolume) error {
	return os.RemoveAll(given.Spec.HostPath.Path)
}
