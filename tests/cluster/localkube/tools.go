//go:build tools

// Programs that are built beside localkube and share its compiled packages.
package main

import (
	_ "helm.sh/helm/v4/cmd/helm"
)
