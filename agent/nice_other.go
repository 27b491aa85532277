//go:build !linux

package agent

// lowerPriority does nothing where a thread has no priority of its own.
func lowerPriority() {}
