//go:build tools

// Programs that only tests run.
package main

import (
	_ "github.com/rhysd/actionlint/cmd/actionlint"
)
