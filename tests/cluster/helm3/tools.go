//go:build tools

// Package helm3 names the Helm before the one that is built beside localkube: the chart's tests run with both.
// It is a module of its own, so that only those tests wait for its compilation; its versions are those
// of localkube, so that packages which both use are compiled once.
package helm3

import (
	_ "helm.sh/helm/v3/cmd/helm"
)
