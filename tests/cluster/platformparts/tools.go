//go:build tools

// Package platformparts names the programs that tests of platforms need where the hardware is missing.
// They are a module of their own, so that only those tests wait for its compilation; its versions are those
// of localkube, so that packages which both use are compiled once.
package platformparts

import (
	_ "sigs.k8s.io/dra-driver-nvidia-gpu/cmd/compute-domain-controller"
	_ "sigs.k8s.io/kwok/cmd/kwok"
)
