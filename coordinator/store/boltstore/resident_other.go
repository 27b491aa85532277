//go:build !linux

package boltstore

import bolt "go.etcd.io/bbolt"

// release is an advice that only Linux takes.
func release(*bolt.Tx) {}
