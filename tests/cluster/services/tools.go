//go:build tools

// Package services pins the services that Dynamo may need beside the workers: etcd and NATS. The tests run
// the very versions that the operator's profiles name.
package services

import (
	_ "github.com/nats-io/nats-server/v2"
	_ "go.etcd.io/etcd/server/v3"
)
