//go:build unix && !linux

package main

import "syscall"

// ownGroup keeps a Ctrl-C at the terminal from reaching the child directly, so
// that processes end in order.
func ownGroup() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
