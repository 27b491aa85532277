//go:build !race

package infer

const underRace = false
